package remote

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Walk tells what is in a folder and below it. Nothing of it is kept here.
func (f files) Walk(ctx context.Context, name string, opts *backends.WalkOptions, each func(*backends.TreeEntry) error) error {
	if err := f.check(name); err != nil {
		return err
	}
	query := url.Values{"path": {name}}
	if opts != nil && opts.Hash {
		query.Set("hash", "1")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answer, s, err := f.fetch(ctx, agentpb.EntriesPath, query)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	lines := bufio.NewReaderSize(answer.Body, agentpb.MaxLine)
	for {
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return fmt.Errorf("remote: %w: a line of more than %d bytes", ErrProtocol, agentpb.MaxLine)
		case err != nil && ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			if err = ended(answer, s, err); !errors.Is(err, io.EOF) {
				return err
			}
			if len(line) > 0 {
				return fmt.Errorf("remote: %w: a line without an end", ErrProtocol)
			}
			return nil
		}
		entry, err := agentpb.ParseTreeLine(line)
		if err != nil {
			return fmt.Errorf("remote: %w: %w", ErrProtocol, err)
		}
		if err := each(entry); err != nil {
			return err
		}
	}
}
