// Command many runs several sandboxes at once: each estimates pi with its own random numbers.
package main

import (
	"context"
	"fmt"
	"log"
	"strconv"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

const count = 6

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	start := time.Now()
	estimates := make([]float64, count)
	failures := make([]error, count)
	var wg sync.WaitGroup
	for i := range count {
		wg.Go(func() { estimates[i], failures[i] = estimate(ctx, i) })
	}
	wg.Wait()
	var sum float64
	for i, pi := range estimates {
		if failures[i] != nil {
			return failures[i]
		}
		fmt.Printf("sandbox %d: %.4f\n", i, pi)
		sum += pi
	}
	fmt.Printf("mean of %d sandboxes: %.3f\n", count, sum/count)
	log.Printf("took %v", time.Since(start).Round(time.Millisecond))
	return nil
}

// estimate makes a sandbox, computes in it and kills it.
func estimate(ctx context.Context, seed int) (pi float64, err error) {
	sbx, err := sandbox.Create(ctx, &sandbox.Options{Env: map[string]string{"SEED": strconv.Itoa(seed)}})
	if err != nil {
		return 0, err
	}
	defer func() {
		if killErr := sbx.Kill(ctx); err == nil {
			err = killErr
		}
	}()
	out, err := sbx.RunCode(ctx, `
import os, random
random.seed(int(os.environ["SEED"]))
n = 200_000
4 * sum(random.random() ** 2 + random.random() ** 2 < 1 for _ in range(n)) / n
`, nil)
	if err != nil {
		return 0, err
	}
	if err := out.Err(); err != nil {
		return 0, err
	}
	return strconv.ParseFloat(out.Text(), 64)
}
