package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ds-sandbox/ds-sandbox/notebook"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// cellsJSON is what the notebooks of the rows hold: how often, and what. The peers read it too.
//
//go:embed cells.json
var cellsJSON []byte

// notebooks measures a row's notebook n times, each from creating its sandbox to the end of its kernel: the peers have no way to
// leave these out.
func notebooks(ctx context.Context, row string, n int) (_ *measure, err error) {
	var rows map[string][][2]any
	if err := json.Unmarshal(cellsJSON, &rows); err != nil {
		return nil, err
	}
	engine, err := sandbox.Open(ctx, coldConfig)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, engine.Close(ctx)) }()
	var times []time.Duration
	for range n {
		nb := notebook.New("python3", "Python 3", "python")
		for _, group := range rows[row] {
			for range int(group[0].(float64)) {
				nb.AddCell(notebook.Code, group[1].(string))
			}
		}
		took, err := timed(ctx, engine, nb)
		if err != nil {
			return nil, err
		}
		times = append(times, took)
	}
	return spread(times), nil
}

func timed(ctx context.Context, engine *sandbox.Engine, nb *notebook.Notebook) (time.Duration, error) {
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
		if len(c.Outputs) != 1 || c.Source == "1+1" && c.Outputs[0].Data["text/plain"] != "2" {
			return 0, fmt.Errorf("%s shows %v", c.Source, c.Outputs)
		}
	}
	return took, nil
}
