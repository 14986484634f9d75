package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// maxCheckpoints bounds those that a repl keeps: each is a process.
const maxCheckpoints = 50

// checkpoints are those that a person took in a repl, by name. A rollback keeps them all.
type checkpoints struct {
	context *sandbox.Context
	named   map[string]*sandbox.Checkpoint
	counts  map[string]int // execution counts at the time
	files   map[string]bool
	latest  string
}

func newCheckpoints(c *sandbox.Context) *checkpoints {
	return &checkpoints{context: c, named: make(map[string]*sandbox.Checkpoint), counts: make(map[string]int), files: make(map[string]bool)}
}

// checkpointMagic finds what a cell of one line asks of the repl itself: %checkpoint [--files] [NAME] or %rollback [NAME].
func checkpointMagic(code string) (magic, name string, ok bool) {
	magic, name, _ = strings.Cut(strings.TrimSpace(code), " ")
	name = strings.TrimSpace(name)
	return magic, name, (magic == "%checkpoint" || magic == "%rollback") && !strings.Contains(name, "\n")
}

// checkpointOrRollback does what a magic asks for and says so. Its errors end the repl.
func (r *interaction) checkpointOrRollback(ctx context.Context, magic, name string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.setCancel(cancel)
	defer r.setCancel(nil)
	var said string
	var err error
	if magic == "%checkpoint" {
		said, err = r.checkpoints.take(ctx, name, r.count)
	} else {
		said, r.count, err = r.checkpoints.goBack(ctx, name, r.count)
	}
	if errors.Is(err, sandbox.ErrKilled) {
		return err
	}
	if err != nil {
		said = err.Error()
	}
	return pipeError(r.sink.note("%s", said))
}

// take takes a checkpoint, in place of one of that name.
func (k *checkpoints) take(ctx context.Context, name string, count int) (said string, err error) {
	opts := new(sandbox.CheckpointOptions)
	if rest, ok := strings.CutPrefix(name, "--files"); ok && (rest == "" || rest[0] == ' ') {
		name, opts.Files = strings.TrimSpace(rest), true
	}
	if name == "" {
		name = fmt.Sprint(len(k.named) + 1)
		for n := len(k.named) + 1; k.named[name] != nil; n++ {
			name = fmt.Sprint(n)
		}
	}
	old := k.named[name]
	if old == nil && len(k.named) == maxCheckpoints {
		return "", fmt.Errorf("%d checkpoints are kept at most: take one under the name of another, %s", maxCheckpoints, k.latest)
	}
	begun := time.Now()
	taken, err := k.context.Checkpoint(ctx, opts)
	if err != nil {
		return "", err
	}
	k.named[name], k.counts[name], k.files[name], k.latest = taken, count, opts.Files, name
	said = fmt.Sprintf("checkpoint %s, %v; %%rollback %s goes back to it", name, time.Since(begun).Round(time.Millisecond), name)
	for _, w := range taken.Warnings {
		said += "\nwarning: " + w
	}
	if old != nil {
		err = old.Drop(ctx)
	}
	return said, err
}

// goBack goes back to a checkpoint, without a name the latest, and returns the execution count of then.
func (k *checkpoints) goBack(ctx context.Context, name string, count int) (said string, then int, err error) {
	if name == "" {
		name = k.latest
	}
	to := k.named[name]
	switch {
	case len(k.named) == 0:
		return "", count, errors.New("there is no checkpoint yet: %checkpoint takes one")
	case to == nil:
		return "", count, fmt.Errorf("there is no checkpoint %s: the latest is %s", name, k.latest)
	}
	if err := k.context.Rollback(ctx, to); err != nil {
		return "", count, err
	}
	said = "back at checkpoint " + name + "; files are as they are"
	if k.files[name] {
		said = "back at checkpoint " + name + ", files too"
	}
	return said, k.counts[name], nil
}
