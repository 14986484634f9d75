package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// instance is one sandbox's folders, and the agent's hold on its processes.
type instance struct {
	*agent.Instance
	backend *Backend
	id      string

	destroying sync.Mutex // held while it is destroyed
	destroyed  bool
}

// workspaceName and privateName are the folders of a sandbox in the base folder.
func workspaceName(id string) string { return "ws-" + id }
func privateName(id string) string   { return "env-" + id }

// make makes the folders. What it made before an error is removed again.
func (in *instance) make(spec backends.Spec) (err error) {
	base := in.backend.base
	if err := base.mkdir(workspaceName(in.id)); err != nil {
		if errors.Is(err, os.ErrExist) {
			return fmt.Errorf("id is taken: %s exists: %w", filepath.Join(base.dir, workspaceName(in.id)), os.ErrExist)
		}
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, in.removeFolders())
		}
	}()
	if err := base.mkdir(privateName(in.id)); err != nil {
		return err
	}
	runtime, err := in.backend.runtime.claim(in.id, base.dir)
	if err != nil {
		return err
	}
	in.Instance, err = in.backend.agent.Open(agent.Place{
		ID: in.id, Env: spec.Env, Runtime: runtime,
		Workspace: filepath.Join(base.dir, workspaceName(in.id)), Private: filepath.Join(base.dir, privateName(in.id)),
	})
	return err
}

// Destroy ends every process and removes the folders.
func (in *instance) Destroy(ctx context.Context) error {
	in.destroying.Lock()
	defer in.destroying.Unlock()
	if in.destroyed {
		return nil
	}
	in.destroyed = true
	err := errors.Join(in.Close(ctx), in.removeFolders())
	in.backend.forget(in)
	if err != nil {
		return fmt.Errorf("local: destroy %s: %w", in.id, err)
	}
	return nil
}

func (in *instance) removeFolders() error {
	return errors.Join(
		in.backend.base.remove(workspaceName(in.id)),
		in.backend.base.remove(privateName(in.id)),
		in.backend.runtime.release(in.id),
	)
}
