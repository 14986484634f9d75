// Command async shows the two ways not to wait: the pull form of a run, and goroutines with a context each.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"sync"

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

	// The pull form: start, and take what the code shows when you like.
	counting, err := sbx.StartCode(ctx, "import time\nfor i in range(3):\n    print('step', i)\n    time.sleep(0.1)\ni", nil)
	if err != nil {
		return err
	}
	for {
		output, err := counting.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		switch o := output.(type) {
		case *sandbox.OutputMessage:
			fmt.Print("printed: ", o.Text)
		case *sandbox.Result:
			fmt.Println("value:", o.Text)
		}
	}

	// Goroutines: runs of one context follow one another, those of different contexts run at the same time.
	var wg sync.WaitGroup
	squares := make([]string, 3)
	for i := range squares {
		wg.Go(func() {
			c, err := sbx.CreateContext(ctx, nil)
			if err != nil {
				squares[i] = err.Error()
				return
			}
			out, err := c.RunCode(ctx, fmt.Sprintf("import time; time.sleep(0.2); %d ** 2", i+7), nil)
			if err != nil {
				squares[i] = err.Error()
				return
			}
			squares[i] = out.Text()
		})
	}
	wg.Wait()
	fmt.Println("squares:", squares)
	return nil
}
