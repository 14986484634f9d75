// Command complete writes a table, computes with pandas on it, fetches the result and cleans up.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

const train = `city,month,sales
Kyiv,1,120
Kyiv,2,80
Lima,1,60
Lima,2,95
`

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) (err error) {
	engine, err := sandbox.Open(ctx, sandbox.Config{DefaultTimeout: 2 * time.Minute})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close(ctx)) }()
	sbx, err := engine.Create(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sbx.Kill(ctx)) }()

	if err := sbx.Files().WriteString(ctx, "train.csv", train); err != nil {
		return err
	}
	out, err := sbx.RunCode(ctx, `
import pandas as pd
df = pd.read_csv("train.csv")
sums = df.groupby("city")["sales"].sum()
for city, total in sums.items():
    print(city, total)
sums.to_csv("sums.csv")
int(sums.sum())
`, nil)
	if err != nil {
		return err
	}
	if err := out.Err(); err != nil {
		return err
	}
	fmt.Print(out.Stdout())
	fmt.Println("total:", out.Text())

	sums, err := sbx.Files().ReadString(ctx, "sums.csv")
	if err != nil {
		return err
	}
	fmt.Print(sums)
	return nil
}
