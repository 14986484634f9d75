package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/google/uuid"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// instance is one sandbox's folders, and the agent's hold on its processes.
type instance struct {
	*agent.Instance
	backend *Backend
	id      string
	family  *family

	changing  sync.Mutex // held while it is made or destroyed; guards what follows
	owner     *os.File   // lock that says that we live
	destroyed bool
	sockets   string // of a fork: its folder in the first's
	settled   bool   // of a fork: its folders are in the first's
}

// workspaceName and privateName are the folders of a sandbox in the base folder.
func workspaceName(id string) string { return "ws-" + id }
func privateName(id string) string   { return "env-" + id }

// make makes the folders. What it made before an error is removed again.
func (in *instance) make(spec backends.Spec) (err error) {
	base := in.backend.base
	if !spec.Container.IsZero() {
		return fmt.Errorf("image, profile, network, mounts and the like: %w: use the docker backend", backends.ErrUnsupported)
	}
	isolation, err := in.backend.isolation(spec.Isolation)
	if err != nil {
		return err
	}
	workspace, roots, err := in.backend.userFolders(spec)
	if err != nil {
		return err
	}
	if err := in.makeFolder(privateName(in.id)); err != nil {
		return err
	}
	n := note{Base: base.dir, Mark: uuid.NewString()}
	in.owner, err = hold(base.root, filepath.Join(privateName(in.id), ownerName), n)
	if err == nil {
		err = in.makeWorkspace(workspace)
	}
	if err != nil { // what has the workspace's name is a stranger's, and not to be removed
		in.giveUp()
		return errors.Join(err, base.root.RemoveAll(privateName(in.id)))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, in.removeFolders(context.Background()))
		}
	}()
	runtime, err := in.backend.runtime.claim(in.id, n)
	if err != nil {
		return err
	}
	place := agent.Place{
		ID: in.id, Mark: n.Mark, Env: spec.Env, Runtime: runtime, Isolation: isolation, Roots: roots, Limits: spec.Limits,
		Workspace: filepath.Join(base.dir, workspaceName(in.id)), Private: filepath.Join(base.dir, privateName(in.id)),
	}
	if workspace != "" {
		place.Home = filepath.Join(place.Private, "home")
	}
	in.family = &family{first: in, members: 1}
	in.Instance, err = in.backend.agent.Open(place)
	return err
}

// makeWorkspace makes the workspace: a link to a folder of the user's, or a folder when that is "".
func (in *instance) makeWorkspace(target string) error {
	name := workspaceName(in.id)
	if target == "" {
		return in.makeFolder(name)
	}
	err := in.backend.base.root.Symlink(target, name)
	if errors.Is(err, os.ErrExist) {
		return in.taken(name)
	}
	return err
}

func (in *instance) makeFolder(name string) error {
	err := in.backend.base.mkdir(name)
	if errors.Is(err, os.ErrExist) {
		return in.taken(name)
	}
	return err
}

func (in *instance) taken(name string) error {
	return fmt.Errorf("id is taken: %s exists: %w", filepath.Join(in.backend.base.dir, name), os.ErrExist)
}

// Destroy ends every process and removes the folders; ctx does not cut it short. After an error it may be called again.
func (in *instance) Destroy(ctx context.Context) error {
	in.changing.Lock()
	defer in.changing.Unlock()
	if in.destroyed {
		return nil
	}
	if err := errors.Join(in.Close(ctx), in.remove(context.WithoutCancel(ctx))); err != nil {
		return fmt.Errorf("local: destroy %s: %w", in.id, err)
	}
	in.destroyed = true
	in.backend.forget(in)
	return nil
}

// remove removes what is ours alone, and the rest with the last of the family.
func (in *instance) remove(ctx context.Context) error {
	switch {
	case in.family.first != in:
		return in.removeFork(ctx)
	case in.family.alone():
		if err := in.removeFolders(ctx); err != nil {
			return err
		}
		in.family.leave()
		return nil
	}
	if err := agent.RemoveAll(ctx, in.backend.base.root, workspaceName(in.id)); err != nil {
		return err
	}
	if in.family.leave() { // just now
		return in.removeFolders(ctx)
	}
	return nil
}

func (in *instance) removeFolders(ctx context.Context) error {
	err := errors.Join(in.backend.base.removeSandbox(ctx, in.id), in.backend.runtime.release(ctx, in.id))
	if err == nil {
		in.giveUp()
	}
	return err
}

// giveUp leaves what may be left of the folders to sweepers.
func (in *instance) giveUp() {
	if in.owner != nil {
		_ = in.owner.Close()
		in.owner = nil
	}
}
