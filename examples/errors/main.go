// Command errors shows the two kinds of failure: what the code raised is data, what kept it from running is an error.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

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

	// The code raised: the Go error is nil, Error tells.
	out, err := sbx.RunCode(ctx, "x = 41\n1 / 0", nil)
	if err != nil {
		return err
	}
	fmt.Println("raised:", out.Error.Name, "-", out.Error.Value)

	// Its time was over: the code is interrupted, the variables are kept.
	_, err = sbx.RunCode(ctx, "while True: pass", &sandbox.RunOptions{Timeout: 300 * time.Millisecond})
	var timeout *sandbox.TimeoutError
	if !errors.As(err, &timeout) {
		return fmt.Errorf("expected a timeout, got %w", err)
	}
	fmt.Println("timed out: ended by", timeout.Step, "variables lost:", timeout.VariablesLost)
	out, err = sbx.RunCode(ctx, "x + 1", nil)
	if err != nil {
		return err
	}
	fmt.Println("still there:", out.Text())

	// The kernel died: the error says how. The next run starts afresh.
	_, err = sbx.RunCode(ctx, "import os; os._exit(7)", nil)
	var exit *backends.ExitError
	if !errors.Is(err, kernel.ErrDead) || !errors.As(err, &exit) {
		return fmt.Errorf("expected a dead kernel, got %w", err)
	}
	fmt.Println("died with exit code", exit.Status.Code)
	out, err = sbx.RunCode(ctx, "'x' in globals()", nil)
	if err != nil {
		return err
	}
	fmt.Println("x after the death:", out.Text())

	// A kernel that is not installed: the error lists those that are.
	_, err = sbx.CreateContext(ctx, &sandbox.ContextOptions{Language: "fortran77"})
	var missing *backends.SpecNotFoundError
	if !errors.As(err, &missing) {
		return fmt.Errorf("expected a missing kernel, got %w", err)
	}
	fmt.Println("no kernel", missing.Name, "among", len(missing.Found), "or more installed")
	return nil
}
