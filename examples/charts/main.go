// Command charts reads a figure and a table as data, not as pixels and HTML.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

const code = `
import matplotlib.pyplot as plt
import pandas as pd

loss = pd.DataFrame({"train": [0.9, 0.4, 0.2, 0.1], "test": [0.9, 0.5, 0.4, 0.4]})
loss.plot(title="Loss", xlabel="Epoch", ylabel="Cross entropy (nats)")
plt.show()
loss.describe()
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

	result, err := sbx.RunCode(ctx, code, nil)
	if err != nil {
		return err
	}
	for _, r := range result.Results {
		if chart, ok := r.Figure(); ok {
			fmt.Println(chart.Digest())
			if lines, ok := chart.(*sandbox.LineChart); ok {
				fmt.Println("unit:", lines.YUnit, "first point:", lines.Elements[0].Points[0])
			}
		}
		if table, ok := r.Table(); ok {
			fmt.Println(table.Digest())
			if err := table.WriteCSV(os.Stdout); err != nil {
				return err
			}
		}
	}
	return nil
}
