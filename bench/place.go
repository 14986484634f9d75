package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// placeName names the rows that measure a sandbox as a place, against the system's own tools.
const placeName = "place"

// comparison is one of these rows.
type comparison struct {
	title, peer string
	ours, their func() error
	rounds      int
}

// place measures files and commands; share divides the work. Each row alternates us and the peer, so that both meet the same
// machine, and shows medians.
func place(ctx context.Context, t *table, share int) error {
	dir, err := os.MkdirTemp("", "dsbench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	t.line("as a place", ours, "peer", "", "ratio", "")
	return withSandbox(ctx, func(sbx *sandbox.Sandbox) error {
		rows, err := comparisons(ctx, sbx, dir, share)
		if err != nil {
			return err
		}
		for _, c := range rows {
			mine, theirs, err := c.measure()
			if err != nil {
				return fmt.Errorf("%s: %w", c.title, err)
			}
			t.line(c.title+", ms", milliText(mine), milliText(theirs)+" ("+c.peer+")", "",
				fmt.Sprintf("%.2f", mine.Seconds()/theirs.Seconds()), "")
		}
		return t.Flush()
	})
}

func milliText(d time.Duration) string { return fmt.Sprintf("%.1f", milliseconds(d.Seconds())) }

func (c comparison) measure() (mine, theirs time.Duration, err error) {
	var all [2][]time.Duration
	for range c.rounds {
		for i, do := range []func() error{c.ours, c.their} {
			start := time.Now()
			if err := do(); err != nil {
				return 0, 0, err
			}
			all[i] = append(all[i], time.Since(start))
		}
	}
	for i := range all {
		slices.Sort(all[i])
	}
	return all[0][c.rounds/2], all[1][c.rounds/2], nil
}

func comparisons(ctx context.Context, sbx *sandbox.Sandbox, dir string, share int) ([]comparison, error) {
	large, small := filepath.Join(dir, "large"), filepath.Join(dir, "small")
	if err := makeLarge(large, int64(1_000_000_000/share)); err != nil {
		return nil, err
	}
	if err := makeSmall(small, 10_000/share); err != nil {
		return nil, err
	}
	files := sbx.Files()
	system := func(name string, args ...string) func() error {
		return func() error { return exec.CommandContext(ctx, name, args...).Run() }
	}
	cp := system("cp", large, filepath.Join(dir, "copy"))
	tree := filepath.Join(dir, "tree")
	untar := system("sh", "-c", `rm -rf "$1" && mkdir "$1" && tar -C "$0" -cf - . | tar -C "$1" -xf -`, small, tree)
	return []comparison{
		{"1 GB file in", "cp", func() error { return writeLarge(ctx, files, large) }, cp, 3},
		{"1 GB file out", "cp", func() error { return readLarge(ctx, files, filepath.Join(dir, "out")) }, cp, 3},
		{"10,000 small files up", "tar", func() error {
			if err := removeTree(ctx, files); err != nil {
				return err
			}
			_, err := files.Upload(ctx, small, "small", nil)
			return err
		}, untar, 3},
		{"10,000 small files down", "tar", func() error {
			to := filepath.Join(dir, "down")
			if err := os.RemoveAll(to); err != nil {
				return err
			}
			_, err := files.Download(ctx, "small", to, nil)
			return err
		}, untar, 3},
		{"start of a command", "os/exec", func() error {
			cmd, err := sbx.Commands().StartProgram(ctx, []string{"true"}, nil)
			if err != nil {
				return err
			}
			_, err = cmd.Wait(ctx)
			return err
		}, system("true"), 200 / min(share, 10)},
	}, nil
}

func removeTree(ctx context.Context, files *sandbox.Files) error {
	if there, err := files.Exists(ctx, "small"); err != nil || !there {
		return err
	}
	return files.Remove(ctx, "small")
}

func makeLarge(name string, size int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	piece := make([]byte, 1<<20)
	for i := range piece {
		piece[i] = byte(i * 7)
	}
	for left := size; left > 0 && err == nil; left -= int64(len(piece)) {
		_, err = f.Write(piece[:min(int64(len(piece)), left)])
	}
	return errors.Join(err, f.Close())
}

func makeSmall(dir string, count int) error {
	for i := range count {
		sub := filepath.Join(dir, strconv.Itoa(i/100))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(sub, strconv.Itoa(i)), []byte("contents of "+strconv.Itoa(i)), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func writeLarge(ctx context.Context, files *sandbox.Files, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	_, err = files.WriteFrom(ctx, "large", f, nil)
	return err
}

func readLarge(ctx context.Context, files *sandbox.Files, name string) error {
	r, err := files.Open(ctx, "large")
	if err != nil {
		return err
	}
	f, err := os.Create(name)
	if err == nil {
		_, err = io.Copy(f, r)
		err = errors.Join(err, f.Close())
	}
	return errors.Join(err, r.Close())
}
