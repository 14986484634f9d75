package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// copy stores a file or a folder of ours in the workspace. A folder's links come out as what they lead to, as far as that is in it:
// who names a folder that somebody else made need not mean what its links lead to.
func (o *sessionOptions) copy(ctx context.Context, s *streams, files *sandbox.Files, u upload) error {
	info, err := os.Stat(u.from)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return copyFile(ctx, files, u.from, u.to)
	}
	opts := &sandbox.TransferOptions{Follow: sandbox.FollowInside}
	if o.follow {
		opts.Follow = sandbox.FollowAll
	}
	_, err = files.Upload(ctx, u.from, u.to, opts)
	left := new(sandbox.SkippedError)
	switch {
	case !errors.As(err, &left):
		return err
	case !o.skip:
		remedy := "--skip-unreadable goes on without"
		if errors.Is(err, sandbox.ErrOutside) && !o.follow {
			remedy = "--follow copies what links lead to, " + remedy
		}
		return fmt.Errorf("--file %s: %w; %s", u.from, left, remedy)
	}
	_, err = fmt.Fprintf(s.err, "[ds-sandbox] --file %s: %v\n", u.from, left)
	return pipeError(err)
}

func copyFile(ctx context.Context, files *sandbox.Files, from, to string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, fmt.Errorf("--file: %s is not a regular file", from))
	}
	_, err = files.WriteFrom(ctx, to, f, nil)
	return err
}
