package agent

import (
	"io"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// WholeFiles is all of a machine's files.
type WholeFiles interface {
	backends.FileSystem
	io.Closer
}

// WholeFiles is the file system from "/" on, with whatever rights its callers have; run runs with the same rights what goes on
// beside calls, and returns after it. Names are whole paths, with or without their leading "/". The limit of the instance's disk holds.
// The caller closes it.
func (in *Instance) WholeFiles(run func(act func())) (WholeFiles, error) {
	f, err := openFiles("/")
	if err != nil {
		return nil, err
	}
	f.disk, f.run = in.disk, run
	return f, nil
}

// beside does what is no caller's own doing with the rights of callers.
func (f *files) beside(act func()) {
	if f.run == nil {
		act()
		return
	}
	f.run(act)
}
