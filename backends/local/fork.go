package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// family is an instance made by Create and the forks of it, and of these. They share the folders of the first: its code may
// touch no others, and neither may copies of its processes, ever. So these folders stay until the last of them is destroyed.
type family struct {
	first *instance

	mu      sync.Mutex // guards what follows
	forks   int        // made so far
	members int        // not destroyed
}

func (f *family) join() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forks++
	f.members++
	return f.forks
}

// leave reports whether the last has left.
func (f *family) leave() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.members--
	return f.members == 0
}

func (f *family) alone() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.members == 1
}

var _ backends.Forker = (*instance)(nil)

// Fork makes an instance with a copy of our files, in the folders of our family.
func (in *instance) Fork(ctx context.Context, spec backends.Spec, flushed <-chan struct{}) (backends.Instance, error) {
	if !validID.MatchString(spec.ID) {
		return nil, fmt.Errorf("local: id %q: use 1 to 40 of a-z and 0-9", spec.ID)
	}
	in.changing.Lock()
	if in.destroyed {
		in.changing.Unlock()
		return nil, backends.ErrDestroyed
	}
	fork := &instance{backend: in.backend, id: spec.ID, family: in.family}
	number := in.family.join()
	in.changing.Unlock()
	fork.changing.Lock()
	defer fork.changing.Unlock()
	if err := in.backend.claim(fork); err != nil {
		in.family.leave()
		return nil, fmt.Errorf("local: fork %s: %w", spec.ID, err)
	}
	if err := fork.makeFork(ctx, in, spec, number, flushed); err != nil {
		err = errors.Join(err, fork.removeFork(context.WithoutCancel(ctx)))
		fork.destroyed = true
		in.backend.forget(fork)
		return nil, fmt.Errorf("local: fork %s: %w", spec.ID, err)
	}
	return fork, nil
}

// makeFork makes the folders in the base folder, where no code reaches them, and moves them to the family's when all is in them.
func (in *instance) makeFork(
	ctx context.Context, from *instance, spec backends.Spec, number int, flushed <-chan struct{},
) (err error) {
	base, first := in.backend.base, in.family.first
	staging := privateName(in.id)
	if err := in.makeFolder(staging); err != nil {
		return err
	}
	n := note{Base: base.dir, Mark: uuid.NewString()}
	owner, err := hold(base.root, filepath.Join(staging, ownerName), n)
	if err != nil {
		return errors.Join(err, base.root.RemoveAll(staging))
	}
	defer func() { _ = owner.Close() }() // the first of the family has a lock for all
	defer func() { err = errors.Join(err, agent.RemoveAll(context.WithoutCancel(ctx), base.root, staging)) }()
	place := agent.Place{
		ID: in.id, Mark: n.Mark, Env: spec.Env,
		Workspace: filepath.Join(base.dir, staging, "ws"), Private: filepath.Join(base.dir, staging, "env"),
	}
	for _, dir := range []string{"ws", "env"} {
		if err := base.root.Mkdir(filepath.Join(staging, dir), 0o700); err != nil {
			return err
		}
	}
	place.Runtime, err = in.makeSockets(first, number)
	if err != nil {
		return err
	}
	in.Instance, err = from.ForkPlace(ctx, place, flushed)
	if err != nil {
		return err
	}
	err = in.settle(first, staging)
	if err == nil {
		in.Relocate(filepath.Join(first.ForksDir(), in.id))
		return nil
	}
	return errors.Join(err, in.Close(context.WithoutCancel(ctx)))
}

// makeSockets makes the folder of our sockets, whose path must be short.
func (in *instance) makeSockets(first *instance, number int) (string, error) {
	in.sockets = "f" + strconv.Itoa(number)
	root, err := in.backend.runtime.root.OpenRoot(first.id)
	if err != nil {
		return "", err
	}
	defer func() { _ = root.Close() }()
	return filepath.Join(first.RuntimeDir(), in.sockets), root.Mkdir(in.sockets, 0o700)
}

// settle moves our folders to those of the family.
func (in *instance) settle(first *instance, staging string) error {
	private, err := in.backend.base.root.OpenRoot(privateName(first.id))
	if err != nil {
		return err
	}
	defer func() { _ = private.Close() }()
	forks := filepath.Base(first.ForksDir())
	if err := private.MkdirAll(forks, 0o700); err != nil {
		return err
	}
	to, err := private.Open(forks)
	if err != nil {
		return err
	}
	defer func() { _ = to.Close() }()
	from, err := in.backend.base.root.Open(".")
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	if err := unix.Renameat(int(from.Fd()), staging, int(to.Fd()), in.id); err != nil {
		return &os.LinkError{Op: "rename", Old: staging, New: in.id, Err: err}
	}
	in.settled = true
	return nil
}

// removeFork removes the folders of a fork, and those of the family after the last.
func (in *instance) removeFork(ctx context.Context) error {
	first := in.family.first
	err := removeBelow(ctx, in.backend.runtime.root, first.id, in.sockets)
	if in.settled {
		place := filepath.Join(filepath.Base(first.ForksDir()), in.id)
		err = errors.Join(err, removeBelow(ctx, in.backend.base.root, privateName(first.id), place))
	}
	if err != nil {
		return err
	}
	if in.family.leave() {
		return first.removeFolders(ctx)
	}
	return nil
}

// removeBelow removes what is in a folder, and nothing outside of that whatever its code made of it.
func removeBelow(ctx context.Context, root *os.Root, folder, name string) error {
	if name == "" {
		return nil
	}
	inner, err := root.OpenRoot(folder)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = inner.Close() }()
	return agent.RemoveAll(ctx, inner, name)
}
