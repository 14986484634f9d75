package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func main() {
	ctx := context.Background()
	e, err := sandbox.Open(ctx, sandbox.Config{MaxSpares: sandbox.NoSpares, Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		panic(err)
	}
	defer e.Close(ctx)
	try := func(code string) {
		t := time.Now()
		s, err := e.Create(ctx, nil)
		if err != nil {
			fmt.Println("ERR", err)
			return
		}
		r, err := s.RunCode(ctx, code, nil)
		fmt.Println(s.Info().Start, time.Since(t), r.Text(), r.Stdout(), err, r.Error, len(r.Results))
		if err := s.Kill(ctx); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println("warm:", e.Warm(ctx))
	try("1+1")
	try("import matplotlib.pyplot as plt; plt.plot([1,2])")
	try("import matplotlib.pyplot as plt; plt.plot([1,2]); plt.show()")
	try("import pandas as pd; pd.Series([1,2]).plot(title='x');")
	for range 5 { try("1+1") }
}
