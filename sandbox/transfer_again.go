package sandbox

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// transferTries is how often a transfer is tried whose connection breaks.
const transferTries = 3

// uncut does a transfer, again from its beginning when its connection breaks in the middle and begin can go back there; nil for one that
// is read anew each time.
func (f *Files) uncut(ctx context.Context, begin func() error, do func() error) error {
	for try := 1; ; try++ {
		err := do()
		if !errors.Is(err, backends.ErrCut) || try == transferTries || ctx.Err() != nil {
			return err
		}
		f.sandbox.engine.config.Logger.Warn("transfer begins again", "sandbox", f.sandbox.id, "error", err)
		select {
		case <-time.After(time.Duration(try) * 100 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
		if begin != nil && begin() != nil {
			return err
		}
	}
}

// rewinder goes back to where a reader is now; it fails for one that can't.
func rewinder(r io.Reader) func() error {
	seeker, ok := r.(io.Seeker)
	if !ok {
		return func() error { return errors.ErrUnsupported }
	}
	start, err := seeker.Seek(0, io.SeekCurrent)
	return func() error {
		if err == nil {
			_, err = seeker.Seek(start, io.SeekStart)
		}
		return err
	}
}
