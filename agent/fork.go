package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
)

// ForkPlace copies what the code has made of this instance into another place, and opens that. Of place the caller sets ID,
// Mark, Env and the folders; Workspace and Private exist and are empty. The copy has our bounds, so its folders must come to
// lie in ours; see [Instance.ForksDir] and [Instance.Relocate]. Files are copied once flushed is closed.
func (in *Instance) ForkPlace(ctx context.Context, place Place, flushed <-chan struct{}) (_ *Instance, err error) {
	place.Isolation, place.Roots, place.Limits, place.Family = in.place.Isolation, in.place.Roots, in.place.Limits, in.place.Family
	env := maps.Clone(in.place.Env)
	if env == nil {
		env = make(map[string]string)
	}
	maps.Copy(env, place.Env)
	place.Env = env
	if in.place.Home != in.place.Workspace {
		place.Home = filepath.Join(place.Private, "home")
	}
	forked, err := in.agent.Open(place)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, forked.Close(context.WithoutCancel(ctx)))
		}
	}()
	select {
	case <-flushed:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if err := cloneTree(ctx, in.files.real, place.Workspace); err != nil {
		return nil, fmt.Errorf("agent: copy workspace: %w", err)
	}
	for _, name := range []string{"venv", "tmp", "home"} {
		err := cloneTree(ctx, filepath.Join(in.place.Private, name), filepath.Join(place.Private, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("agent: copy %s: %w", name, err)
		}
	}
	return forked, nil
}

// Relocate tells an instance in which nothing was started yet that its folders have moved: to ws and env in dir.
func (in *Instance) Relocate(dir string) {
	from := in.place
	in.place.Workspace, in.place.Private = filepath.Join(dir, "ws"), filepath.Join(dir, "env")
	replace := func(path *string) {
		for old, now := range map[string]string{from.Workspace: in.place.Workspace, from.Private: in.place.Private} {
			if rest, ok := strings.CutPrefix(*path, old); ok {
				*path = now + rest
			}
		}
	}
	for _, path := range []*string{&in.place.Home, &in.env.dir, &in.env.bin, &in.env.site, &in.env.python, &in.files.dir} {
		replace(path)
	}
	in.files.real = in.place.Workspace
	if in.bounds != nil {
		in.bounds = in.agent.newBounds(in.place, in.files.folders()...)
	}
}

// ForksDir is the folder for the folders of forks. It is within what our code may touch, because so will the code of the forks
// be: what it was shut in by before, no copy of a process gets out of.
func (in *Instance) ForksDir() string { return filepath.Join(in.place.Private, "forks") }

// RuntimeDir is where the sockets are.
func (in *Instance) RuntimeDir() string { return in.place.Runtime }

// moves are the folders that are others for a copy of a process of from.
func (in *Instance) moves(from *Instance) [][2]string {
	moves := [][2]string{{from.place.Workspace, in.place.Workspace}}
	if from.files.real != from.place.Workspace {
		moves = append(moves, [2]string{from.files.real, in.place.Workspace})
	}
	for _, name := range []string{"venv", "tmp", "home", "ipython", "matplotlib", "cache", "jupyter", "history"} {
		moves = append(moves, [2]string{filepath.Join(from.place.Private, name), filepath.Join(in.place.Private, name)})
	}
	return moves
}

// differing are the variables that are others for a copy of a process of from. What the code set itself stays.
func (in *Instance) differing(from *Instance) map[string]string {
	env := map[string]string{IDVariable: in.place.ID, MarkVariable: in.place.Mark}
	for name, value := range in.place.Env {
		if old, ok := from.place.Env[name]; !ok || old != value {
			env[name] = value
		}
	}
	return env
}

// cloneTree copies what is in a folder into another, by sharing the blocks where the file system can. What is there already
// stays; sockets and the like are left out; links are copied as links. Neither is left on the way, whatever the code makes of
// its links meanwhile.
func cloneTree(ctx context.Context, from, to string) error {
	source, err := os.OpenRoot(from)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	target, err := os.OpenRoot(to)
	if err != nil {
		return err
	}
	defer func() { _ = target.Close() }()
	var folders []fs.FileInfo
	var names []string
	err = fs.WalkDir(source.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, fs.ErrNotExist) && name != "." {
			return nil // gone meanwhile
		}
		if err != nil {
			return err
		}
		if name == "." {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return nil //nolint:nilerr // gone meanwhile
		}
		switch {
		case info.IsDir():
			folders, names = append(folders, info), append(names, name)
			err = target.Mkdir(name, 0o700)
		case info.Mode()&fs.ModeSymlink != 0:
			var link string
			if link, err = source.Readlink(name); err == nil {
				err = target.Symlink(link, name)
			}
		case info.Mode().IsRegular():
			err = copyContent(source, target, name, info)
		}
		if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	for i := len(names) - 1; i >= 0; i-- { // when nothing is made in them any more
		if err := keepTimes(target, names[i], folders[i]); err != nil {
			return err
		}
	}
	return nil
}

// copyContent copies a file with its mode and time.
func copyContent(source, target *os.Root, name string, info fs.FileInfo) error {
	r, err := source.OpenFile(name, os.O_RDONLY|openNonblock, 0) // a pipe in the file's place would wait
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	if now, err := r.Stat(); err != nil || !now.Mode().IsRegular() {
		return err
	}
	w, err := target.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(shareBlocks(w, r), w.Close())
	if err != nil {
		return err
	}
	return keepTimes(target, name, info)
}

func keepTimes(target *os.Root, name string, info fs.FileInfo) error {
	return errors.Join(target.Chmod(name, info.Mode().Perm()), target.Chtimes(name, info.ModTime(), info.ModTime()))
}
