package fleet

import (
	"context"
	"errors"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// A sandbox can end without anybody here having ended it: its container is removed from outside, its engine starts anew.
const (
	watchEvery    = 15 * time.Second
	watchPatience = 2 * time.Second // for one sandbox to say that it is there
)

// watch ends members whose sandboxes are gone, until ctx does.
func (f *Fleet) watch(ctx context.Context) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			f.bury(ctx)
		}
	}
}

// bury looks at every member once.
func (f *Fleet) bury(ctx context.Context) {
	for _, m := range f.Members(nil) {
		asking, cancel := context.WithTimeout(ctx, watchPatience)
		_, err := m.sandbox.Stats(asking)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if !errors.Is(err, backends.ErrDestroyed) {
			continue
		}
		f.options.Logger.Warn("sandbox ended by itself", "sandbox", m.id, "error", err)
		f.spawn(func() {
			if err := m.end(context.Background(), EndedItself); err != nil && !errors.Is(err, ErrNotFound) {
				f.options.Logger.Warn("bury sandbox", "sandbox", m.id, "error", err)
			}
		})
	}
}
