package archive

import (
	"errors"
	"os"
	"path"
)

// Staged is a file that takes its name when it is complete. Until then, where the system has such files, it has no name at
// all: a program that is killed leaves nothing of it. The caller ends it with Discard.
type Staged struct {
	*os.File
	dir      *os.Root
	name     string // temporary; "" for none
	replaces bool
}

// Stage makes an empty file in a folder of root, that Commit will name; replaces says whether a file has that name. The file has
// mode 0600.
func Stage(root *os.Root, folder string, replaces bool) (*Staged, error) {
	dir, err := root.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	if f := openNameless(dir); f != nil {
		return &Staged{File: f, dir: dir, replaces: replaces}, nil
	}
	name := TemporaryName(replaces)
	f, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return &Staged{File: f, dir: dir, name: name}, nil
}

// Nameless reports whether the file has no name yet, and so is in no folder.
func (s *Staged) Nameless() bool { return s.name == "" }

// Commit closes the file and puts it under its name, in place of a file that is there. An error leaves that one as it was.
func (s *Staged) Commit(name string) error {
	name = path.Base(name)
	if s.name == "" {
		// There is no way to replace a file by one without a name, and watches are to see how a new one differs from one that code
		// makes and has yet to fill: it has another name for the next two calls.
		s.name = TemporaryName(s.replaces)
		if err := nameIt(s.dir, s.File, s.name); err != nil {
			return err
		}
	}
	if err := s.Close(); err != nil {
		return err
	}
	err := s.dir.Rename(s.name, name)
	if err == nil {
		s.name = ""
	}
	return err
}

// Discard closes what is open, and removes the file unless it was committed.
func (s *Staged) Discard() {
	_ = s.Close() // a second time says that it is closed
	if s.name != "" {
		_ = s.dir.Remove(s.name)
	}
	_ = s.dir.Close()
}
