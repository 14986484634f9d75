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

// WholeFiles is the file system from "/" on, with whatever rights its callers have; run does with the same rights what goes on beside
// calls, and returns after it; an error says that it could not be done. Write needs no rights of its caller: it does by run what
// needs some, and reads what is written without. Names are whole paths, with or without their leading "/". The limit of the
// instance's disk holds. The caller closes it.
func (in *Instance) WholeFiles(run func(act func()) error) (WholeFiles, error) {
	f, err := openFiles("/")
	if err != nil {
		return nil, err
	}
	f.disk, f.run = in.disk, run
	return f, nil
}

// beside does something with the rights that callers have. After an error nothing was done.
func (f *files) beside(act func()) error {
	if f.run == nil {
		act()
		return nil
	}
	return f.run(act)
}
