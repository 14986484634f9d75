// Command branches loads data once and tries several ways to go on from there, then undoes what went wrong.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/kernel"
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
	if _, err := sbx.RunCode(ctx, "data = list(range(1_000_000))", nil); err != nil {
		return err
	}

	if err := tryEach(ctx, sbx); err != nil {
		return err
	}

	// A checkpoint can be gone back to any number of times.
	c := sbx.DefaultContext()
	loaded, err := c.Checkpoint(ctx, nil)
	if err != nil {
		return err
	}
	if _, err := sbx.RunCode(ctx, "del data", nil); err != nil {
		return err
	}
	if err := c.Rollback(ctx, loaded); err != nil {
		return err
	}

	// A run that kills its interpreter is undone at once.
	_, err = sbx.RunCode(ctx, "data = None; import os; os.abort()", &sandbox.RunOptions{Undoable: true})
	var undone *sandbox.UndoneError
	fmt.Println("died:", errors.Is(err, kernel.ErrDead), "undone:", errors.As(err, &undone))
	kept, err := sbx.RunCode(ctx, "len(data)", nil)
	if err != nil {
		return err
	}
	fmt.Println("kept:", kept.Text())
	return nil
}

// tryEach tries the ways to go on: at once in forks, where the backend has them, else one after the other from a checkpoint.
func tryEach(ctx context.Context, sbx *sandbox.Sandbox) error {
	const ways = 3
	way := func(i int) string { return fmt.Sprintf("data = data[::%d]; len(data)", i+2) }

	// Each fork has the data without loading it; nothing that one does is seen by another.
	forks, err := sbx.Fork(ctx, ways, nil)
	if err == nil {
		fmt.Println("in forks:")
		for i, fork := range forks {
			defer fork.Kill(ctx) //nolint:errcheck // the program ends soon
			tried, err := fork.RunCode(ctx, way(i), nil)
			if err != nil {
				return err
			}
			fmt.Println("every", i+2, "th:", tried.Text())
		}
		return nil
	}
	if !errors.Is(err, backends.ErrUnsupported) {
		return err
	}
	fmt.Println("one after the other:", err)
	c := sbx.DefaultContext()
	loaded, err := c.Checkpoint(ctx, nil)
	if err != nil {
		return err
	}
	defer loaded.Drop(ctx) //nolint:errcheck // as above
	for i := range ways {
		tried, err := sbx.RunCode(ctx, way(i), nil)
		if err != nil {
			return err
		}
		fmt.Println("every", i+2, "th:", tried.Text())
		if err := c.Rollback(ctx, loaded); err != nil {
			return err
		}
	}
	return nil
}
