// Command streaming shows output while the code runs: text by callbacks, and a chart the moment it is drawn.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

const code = `
import sys, time
import matplotlib.pyplot as plt

for epoch in range(1, 4):
    print(f"epoch {epoch}: loss {1 / epoch:.3f}")
    time.sleep(0.1)
print("drawing", file=sys.stderr)
plt.plot([1, 1 / 2, 1 / 3], marker="o")
plt.title("Loss")
plt.show()
time.sleep(0.2)
print("done")
`

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	sbx, err := sandbox.Create(ctx, nil)
	if err != nil {
		return err
	}
	defer sbx.Kill(ctx) //nolint:errcheck // the program ends here

	start := time.Now()
	at := func() string { return fmt.Sprintf("%5.2fs", time.Since(start).Seconds()) }
	_, err = sbx.RunCode(ctx, code, &sandbox.RunOptions{
		Timeout:  60 * time.Second,
		OnStdout: func(m sandbox.OutputMessage) { fmt.Print(at(), " out ", m.Text) },
		OnStderr: func(m sandbox.OutputMessage) { fmt.Print(at(), " err ", m.Text) },
		OnResult: func(r *sandbox.Result) {
			picture, ext, ok := r.Image()
			if !ok {
				return
			}
			name := "loss" + ext
			if err := os.WriteFile(name, picture, 0o644); err != nil {
				log.Println(err)
				return
			}
			fmt.Printf("%s chart of %d bytes saved as %s\n", at(), len(picture), name)
		},
	})
	return err
}
