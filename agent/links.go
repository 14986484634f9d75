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
// its own files, and these lead nowhere else: they are resolved here. What comes out is only another name, which is
// used through os.Root again, so a mistake or a race here can't lead out.

// maxLinks bounds the links on one way, as the system does.
const maxLinks = 40

// inside does something with a name, and when that seems to lead out, with what its links come to. last says whether a link
// in the last place counts.
func (f *files) inside(name string, last bool, do func(name string) error) error {
	err := told(do(name))
	if !errors.Is(err, backends.ErrOutside) {
		return err
	}
	resolved, err := f.resolve(name, last)
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

// resolve follows the links in name.
func (f *files) resolve(name string, last bool) (string, error) {
	at, links := ".", 0
	for rest := strings.Split(name, "/"); len(rest) > 0; {
		element := rest[0]
		rest = rest[1:]
		switch element {
		case "", ".":
			continue
		case "..":
			if at == "." {
				return "", backends.ErrOutside
			}
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, element)
		target, err := f.root.Readlink(next)
		if err != nil || len(rest) == 0 && !last {
			at = next // no link, or nothing there
			continue
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("%s: %w", name, syscall.ELOOP)
		}
		if path.IsAbs(target) {
			below, ok := f.below(target)
			if !ok {
				return "", backends.ErrOutside
			}
			at, target = ".", below
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return at, nil
}

// below returns what of an absolute path lies in the workspace.
func (f *files) below(target string) (string, bool) {
	for _, dir := range []string{f.dir, f.real} {
		if rest, ok := strings.CutPrefix(target, dir); ok && (rest == "" || rest[0] == '/') {
			return rest, true
		}
	}
	return "", false
}
