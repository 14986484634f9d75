package main

import (
	"context"
	"fmt"
	"time"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func main() {
	ctx := context.Background()
	e, err := sandbox.Open(ctx, sandbox.Config{MinSpares: 3})
	if err != nil {
		panic(err)
	}
	try := func(code string, o *sandbox.Options) {
		for e.Metrics().Spares < 3 {
			time.Sleep(10 * time.Millisecond)
		}
		t := time.Now()
		s, err := e.Create(ctx, o)
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
	t := time.Now()
	s, _ := e.Create(ctx, nil)
	fmt.Println("first", time.Since(t))
	defer s.Kill(ctx)
	for range 5 {
		try("1+1", nil)
	}
	for range 3 {
		try("import pandas as pd; pd.DataFrame({'a':[1,2]}).a.sum()", nil)
	}
	for range 3 {
		try("import matplotlib.pyplot as plt; plt.plot([1,2]); plt.show()", nil)
	}
	try("import os; os.environ['A'], os.popen('echo $A').read(), os.environ.get('B')", &sandbox.Options{Env: map[string]string{"A": "b"}, Metadata: map[string]string{"x": "y"}})
	try("import os; os.environ['PYTHONX']", &sandbox.Options{Env: map[string]string{"PYTHONX": "b"}})
	fmt.Printf("%+v\n", e.Metrics())
	fmt.Println(e.Close(ctx))
}
