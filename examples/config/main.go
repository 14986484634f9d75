// Command config sets everything that can be set: of the engine, of a sandbox, of a run.
package main

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	engine, err := sandbox.Open(ctx, sandbox.Config{
		DefaultBackend:    "local",
		WorkspaceBaseDir:  filepath.Join(os.TempDir(), "ds_sandbox_workspaces"),
		DefaultTimeout:    10 * time.Minute, // of one run
		DefaultTimeToLive: time.Hour,        // of a sandbox
		StartTimeout:      time.Minute,      // of a kernel
		MaxFrame:          64 << 20,         // largest message of a kernel, bytes
		Logger:            slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	defer engine.Close(ctx) //nolint:errcheck // the program ends here
	sbx, err := engine.Create(ctx, &sandbox.Options{
		Language:   "python",
		Env:        map[string]string{"STAGE": "test"},
		TimeToLive: 5 * time.Minute,
		Metadata:   map[string]string{"owner": "me"},
	})
	if err != nil {
		return err
	}
	analysis, err := sbx.CreateContext(ctx, &sandbox.ContextOptions{Dir: "analysis", Env: map[string]string{"MODE": "fast"}})
	if err != nil {
		return err
	}
	const code = "import os\nprint(os.environ['STAGE'], os.environ['MODE'], os.environ['ONCE'])\ninput('name? ')"
	out, err := sbx.RunCode(ctx, code, &sandbox.RunOptions{
		Context:   analysis,
		Env:       map[string]string{"ONCE": "now"},
		Timeout:   30 * time.Second,
		MaxOutput: 1 << 20,
		OnInput:   func(ctx context.Context, prompt string, password bool) (string, error) { return "Ada", nil },
	})
	if err != nil {
		return err
	}
	fmt.Print(out.Stdout())
	fmt.Println(out.Text(), "of", sbx.Info().Metadata["owner"])
	return nil
}
