package agent

import (
	"context"
	"io"
	"os"

	"github.com/ds-sandbox/ds-sandbox/agent/archive"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Export writes a folder's contents, or one file, as a tar stream.
func (f *files) Export(ctx context.Context, name string, w io.Writer) error {
	f, at, err := f.tree(name)
	if err != nil {
		return err
	}
	return told(archive.Pack(ctx, f.root, at, w, nil))
}

// Walk tells what is in a folder and below it, or of one file.
func (f *files) Walk(ctx context.Context, name string, opts *backends.WalkOptions, each func(*backends.TreeEntry) error) error {
	f, at, err := f.tree(name)
	if err != nil {
		return err
	}
	var own error // of each, which is not ours to put into words
	err = archive.Walk(ctx, f.root, at, opts, func(e *backends.TreeEntry) error {
		own = each(e)
		return own
	})
	if own != nil {
		return own
	}
	return told(err)
}

// tree is where a tree is that a name leads to.
func (f *files) tree(name string) (*files, string, error) {
	f, name, err := f.at(name, true)
	if err != nil {
		return nil, "", err
	}
	at := name
	err = f.inside(name, true, func(name string) (err error) {
		at = name
		_, err = f.root.Stat(name)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	if info, err := f.root.Lstat(at); err == nil && info.Mode()&os.ModeSymlink != 0 {
		if at, err = f.within(at, true); err != nil {
			return nil, "", told(err)
		}
	}
	return f, at, nil
}

// Import makes what a tar stream holds.
func (f *files) Import(ctx context.Context, name string, r io.Reader) error {
	f, name, err := f.at(name, true)
	if err != nil {
		return err
	}
	return told(f.unpack(ctx, name, &contextReader{ctx: ctx, r: r}))
}

// unpack makes what a tar stream holds in a folder, which is made when absent. Links may say what they like, as those that
// code in the workspace makes: nothing follows them out of it.
func (f *files) unpack(ctx context.Context, name string, r io.Reader) error {
	var dir *os.Root
	err := f.inside(name, true, func(name string) error {
		if name != "." {
			if err := f.root.MkdirAll(name, 0o755); err != nil {
				return err
			}
		}
		var err error
		dir, err = f.root.OpenRoot(name)
		return err
	})
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	room := f.disk.room(false)
	return archive.Unpack(ctx, dir, r, &archive.Options{
		OutwardLinks: true, Take: func(n int64) error { return room.take(ctx, n) },
		Remove: func(root *os.Root, name string) error { return RemoveAll(ctx, root, name) },
	})
}
