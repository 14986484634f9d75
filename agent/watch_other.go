//go:build !linux

package agent

import (
	"context"
	"fmt"
	"io/fs"
	"runtime"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// watch is for Linux: other systems watch paths and follow links on them, or have no watch of folders at all.
type watch struct{}

func startWatch(context.Context, *files, string, string, fs.FileInfo, backends.WatchOptions) (backends.Watch, error) {
	return nil, fmt.Errorf("watch on %s: %w", runtime.GOOS, backends.ErrUnsupported)
}

func (*watch) end(error) error { return nil }
