package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ds-sandbox/ds-sandbox/notebook"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// trivialCells is how many cells the notebook has; peers.py has the same.
const trivialCells = 50

// trivialNotebooks measures a notebook of trivial cells n times, each from creating its sandbox to the end of its kernel:
// nbclient has no way to leave these out.
func trivialNotebooks(ctx context.Context, n int) (_ *measure, err error) {
	engine, err := sandbox.Open(ctx, sandbox.Config{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, engine.Close(ctx)) }()
	var times []time.Duration
	for range n {
		took, err := trivialNotebook(ctx, engine)
		if err != nil {
			return nil, err
		}
		times = append(times, took)
	}
	return spread(times), nil
}

func trivialNotebook(ctx context.Context, engine *sandbox.Engine) (time.Duration, error) {
	nb := notebook.New("python3", "Python 3", "python")
	for range trivialCells {
		nb.AddCell(notebook.Code, "1+1")
	}
	start := time.Now()
	sbx, err := engine.Create(ctx, nil)
	if err != nil {
		return 0, err
	}
	if err := notebook.Execute(ctx, nb, sbx.DefaultContext(), nil); err != nil {
		return 0, err
	}
	if err := sbx.Kill(ctx); err != nil {
		return 0, err
	}
	took := time.Since(start)
	for _, c := range nb.Cells {
		if len(c.Outputs) != 1 || c.Outputs[0].Data["text/plain"] != "2" {
			return 0, fmt.Errorf("1+1 shows %v", c.Outputs)
		}
	}
	return took, nil
}
