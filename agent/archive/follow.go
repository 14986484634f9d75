package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Follow says which links Pack follows; none when empty. It is for trees of one's own: the root must have been opened by a path that
// leads there still.
type Follow string

// What to follow. Either way a link comes out as what it leads to, and one that leads to a folder it lies in is backends.ErrLoop.
const (
	FollowInside Follow = "inside" // links that stay in the tree; others are backends.ErrOutside
	FollowAll    Follow = "all"    // wherever links lead on this machine
)

// maxFollowed bounds a tree with links: a few that lead crosswise make millions of ways.
const maxFollowed = 1_000_000

var errTooManyWays = fmt.Errorf("links lead to more than %d entries: upload the folders that are needed one by one", maxFollowed)

// trail is where a Pack that follows links is. The zero value is that of one that does not.
type trail struct {
	on   bool
	top  string // the tree's path without links
	root *os.Root
	seen []fs.FileInfo // the folders around the entry under way
}

func (t *trail) begin(follow Follow, path string, root *os.Root, info fs.FileInfo) error {
	switch follow {
	case "":
		return nil
	case FollowInside, FollowAll:
	default:
		return fmt.Errorf("follow %q: use %q or %q", follow, FollowInside, FollowAll)
	}
	path, err := filepath.Abs(path)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return err
	}
	*t = trail{on: true, top: path, root: root, seen: []fs.FileInfo{info}}
	return nil
}

// push notes a folder that is gone into, and reports whether that is no circle.
func (t *trail) push(info fs.FileInfo) bool {
	if !t.on {
		return true
	}
	for _, around := range t.seen {
		if os.SameFile(around, info) {
			return false
		}
	}
	t.seen = append(t.seen, info)
	return true
}

func (t *trail) pop() {
	if t.on {
		t.seen = t.seen[:len(t.seen)-1]
	}
}

// within is a path relative to the tree, when it is in it.
func (t *trail) within(path string) (string, bool) {
	rel, err := filepath.Rel(t.top, path)
	return rel, err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// follow packs what a link leads to in its place. The link is resolved once; what is opened then is checked like all else, so
// that one which is swapped meanwhile leads nowhere that the policy does not admit.
func (p *packer) follow(real, name, full string, depth int) error {
	if p.steps++; p.steps > maxFollowed || depth > maxDepth {
		return errTooManyWays
	}
	target, err := filepath.EvalSymlinks(filepath.Join(real, name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return p.left(full, fmt.Errorf("a link that leads nowhere: %w", err))
	case errors.Is(err, fs.ErrPermission):
		return p.skip(full, err)
	case err != nil && strings.HasSuffix(err.Error(), "too many links"): // package filepath has no name for it
		return p.left(full, backends.ErrLoop)
	case err != nil:
		return p.left(full, err)
	}
	rel, inside := p.trail.within(target)
	if rel == "." || target == "/" || strings.HasPrefix(p.trail.top, target+"/") { // all around the tree is a circle too
		return p.left(full, backends.ErrLoop)
	}
	if !inside && p.opts.Follow != FollowAll {
		return p.left(full, fmt.Errorf("a link to %s: %w", strings.ToValidUTF8(target, "\uFFFD"), errOutsideTree))
	}
	var dir *os.Root
	if inside {
		dir, err = p.trail.root.OpenRoot(filepath.Dir(rel))
	} else {
		dir, err = os.OpenRoot(filepath.Dir(target))
	}
	if err != nil {
		return p.gone(full, err)
	}
	defer func() { _ = dir.Close() }()
	open, err := dir.Open(".")
	if err != nil {
		return p.gone(full, err)
	}
	defer func() { _ = open.Close() }()
	return p.entry(dir, open, filepath.Dir(target), filepath.Base(target), full, depth+1)
}

// errOutsideTree is backends.ErrOutside in the words of an upload.
var errOutsideTree = fmt.Errorf("%w; or have links followed wherever they lead", backends.ErrOutside)

// gone notes a link whose target can't be opened, though it was just found.
func (p *packer) gone(full string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return p.skip(full, err)
	}
	return p.left(full, backends.ErrVanished)
}
