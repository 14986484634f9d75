// Command limits bounds what a sandbox may use, reads its figures, and pauses it.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	sbx, err := sandbox.Create(ctx, &sandbox.Options{
		Limits: sandbox.Limits{Memory: 600 << 20, Processes: 200, Disk: 50 << 20, CPUTime: 10 * time.Minute},
	})
	if err != nil {
		return err
	}
	defer sbx.Kill(ctx) //nolint:errcheck // the program ends here
	for limit, by := range sbx.Info().Enforcement {
		fmt.Printf("%s held by %s\n", limit, by)
	}

	// Code that takes more is ended, and the error says by which limit.
	_, err = sbx.RunCode(ctx, "hoard = [bytes([1]) * 10_000_000 for _ in range(1000)]", nil)
	var limit *sandbox.LimitError
	if !errors.As(err, &limit) {
		return fmt.Errorf("expected a limit, got %w", err)
	}
	fmt.Printf("ended by the limit of %s: %v\n", limit.Limit, limit)

	// The next run starts afresh. A pause stops everything where it is; no time runs out meanwhile.
	fresh, err := sbx.RunCode(ctx, "data = list(range(1_000_000)); len(data)", nil)
	if err != nil {
		return err
	}
	fmt.Println("afresh:", fresh.Text())
	if err := sbx.Pause(ctx); err != nil {
		return err
	}
	_, err = sbx.RunCode(ctx, "1", nil)
	fmt.Println("paused:", errors.Is(err, sandbox.ErrPaused))
	if err := sbx.Resume(ctx); err != nil {
		return err
	}
	kept, err := sbx.RunCode(ctx, "sum(data)", nil)
	if err != nil {
		return err
	}
	fmt.Println("kept:", kept.Text())

	stats, err := sbx.Stats(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("%d processes, %d MB, %v of a processor\n", stats.Processes, stats.Memory>>20, stats.CPU.Round(10*time.Millisecond))
	return nil
}
