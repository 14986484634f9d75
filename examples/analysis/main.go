// Command analysis runs a real analysis in a sandbox: a data set is loaded, a model trained with live progress, a
// table of its weights printed, and its loss and confusion matrix saved as a picture.
package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

//go:embed analysis.py
var code string

func main() {
	out := "."
	if len(os.Args) > 1 {
		out = os.Args[1]
	}
	if err := run(context.Background(), out); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out string) (err error) {
	sbx, err := sandbox.Create(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sbx.Kill(ctx)) }()

	var saveErr error
	run, err := sbx.RunCode(ctx, code, &sandbox.RunOptions{
		Timeout:  2 * time.Minute,
		OnStdout: func(m sandbox.OutputMessage) { fmt.Print(m.Text) },
		OnStderr: func(m sandbox.OutputMessage) { fmt.Fprint(os.Stderr, m.Text) },
		OnResult: func(r *sandbox.Result) {
			picture, ext, ok := r.Image()
			if !ok {
				return
			}
			path := filepath.Join(out, "analysis"+ext)
			saveErr = errors.Join(saveErr, os.WriteFile(path, picture, 0o644))
			fmt.Println("picture saved as", path)
		},
	})
	if err := errors.Join(err, saveErr, run.Err()); err != nil {
		return err
	}
	fmt.Println("strongest weights:")
	fmt.Println(run.Text())
	fmt.Printf("took %.1f s, %.1f s of CPU, at most %d MB\n",
		run.Usage.Wall.Seconds(), run.Usage.CPU.Seconds(), run.Usage.PeakMemory>>20)
	return nil
}
