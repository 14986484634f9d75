// Command quickstart creates a sandbox, runs code in it twice and shows that its variables stay.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func main() {
	ctx := context.Background()
	sbx, err := sandbox.Create(ctx, nil) // a workspace folder and a Python kernel
	if err != nil {
		log.Fatal(err)
	}
	defer sbx.Kill(ctx) //nolint:errcheck // the program ends here

	if _, err := sbx.RunCode(ctx, "prices = [3, 4, 5]", nil); err != nil {
		log.Println(err)
		return
	}
	run, err := sbx.RunCode(ctx, "print('mean of', prices)\nsum(prices) / len(prices)", nil)
	if err != nil {
		log.Println(err)
		return
	}
	fmt.Print(run.Stdout())
	fmt.Println("value:", run.Text(), "success:", run.Success())
}
