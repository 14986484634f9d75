package agent

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"syscall"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// os.Root takes every link with an absolute target to lead out of it. Code that runs in the workspace makes such links to
// its own files, and these lead nowhere else; others lead into allowed roots. They are resolved here. What comes out is only another
// name in one of these folders, which is used through its os.Root again, so a mistake or a race here can't lead out.

// maxLinks bounds the links on one way, as the system does.
const maxLinks = 40

// at cleans a name and says in which folder it lies and under which name: in the workspace, unless links on the way, or one in the
// last place if last, lead into an allowed root.
func (f *files) at(name string, last bool) (*files, string, error) {
	name, err := f.clean(name)
	if err != nil {
		return nil, "", err
	}
	return f.lead(name, last)
}

func (f *files) clean(name string) (string, error) {
	if f.real == "/" {
		return cleanWhole(name)
	}
	return clean(name, f.dir, f.real)
}

// lead is at for a clean name.
func (f *files) lead(name string, last bool) (*files, string, error) {
	if len(f.roots) == 0 {
		return f, name, nil
	}
	look := f.root.Lstat
	if last {
		look = f.root.Stat
	}
	if _, err := look(name); !errors.Is(told(err), backends.ErrOutside) {
		return f, name, nil // the act itself says what is wrong
	}
	return f.resolve(name, last)
}

// inside does something with a name, and when that seems to lead out, with what its links come to. last says whether a link
// in the last place counts.
func (f *files) inside(name string, last bool, do func(name string) error) error {
	err := told(do(name))
	if !errors.Is(err, backends.ErrOutside) {
		return err
	}
	resolved, err := f.within(name, last)
	if err != nil {
		return err
	}
	return told(do(resolved))
}

// place is the name of an entry that is there, without links on the way to it. When the error is that there is none, it
// is a name to make it under.
func (f *files) place(name string) (string, error) {
	at := name
	err := f.inside(name, false, func(name string) error {
		at = name
		_, err := f.root.Lstat(name)
		return err
	})
	return at, err
}

// within is resolve for what must come to this very folder.
func (f *files) within(name string, last bool) (string, error) {
	in, resolved, err := f.resolve(name, last)
	if err == nil && in != f { // the name has come to lead there since at looked
		err = backends.ErrOutside
	}
	return resolved, err
}

// resolve follows the links in name, into allowed roots too. Of folders outside nothing is read: a way through them counts
// by its name alone.
func (f *files) resolve(name string, last bool) (*files, string, error) {
	in, at, links := f, ".", 0 // in is nil outside, and at is absolute then
	for rest := strings.Split(name, "/"); len(rest) > 0; {
		element := rest[0]
		rest = rest[1:]
		switch element {
		case "", ".":
			continue
		case "..":
			if in != nil && at == "." {
				in, at = f.enter(path.Dir(in.real))
			} else if at = path.Dir(at); in == nil {
				in, at = f.enter(at)
			}
			continue
		}
		next := path.Join(at, element)
		if in == nil {
			in, at = f.enter(next)
			continue
		}
		target, err := in.root.Readlink(next)
		if err != nil || len(rest) == 0 && !last {
			at = next // no link, or nothing there
			continue
		}
		if links++; links > maxLinks {
			return nil, "", fmt.Errorf("%s: %w", name, syscall.ELOOP)
		}
		if path.IsAbs(target) {
			in, at = f.enter("/")
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	if in == nil {
		return nil, "", outside(name, at)
	}
	return in, at, nil
}

// enter says which folder begins at an absolute path.
func (f *files) enter(dir string) (in *files, at string) {
	if dir == f.dir || dir == f.real {
		return f, "."
	}
	for _, root := range f.roots {
		if dir == root.dir || dir == root.real {
			return root, "."
		}
	}
	return nil, dir
}

// maxShown is how much of a path an error shows, bytes: code makes links as long as it likes.
const maxShown = 200

// outside says what to do about a name that links lead out.
func outside(name, to string) error {
	if len(name) > maxShown {
		name = name[:maxShown] + "..."
	}
	if len(to) > maxShown {
		to = to[:maxShown] + "..."
	}
	return fmt.Errorf("%w, or name in AllowedRoots the folder that it is to lead into (%q leads to %q)", backends.ErrOutside, name, to)
}
