package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"sync"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// users are those of a machine: the one that code has, whose the sandbox's own instance is, and root. What root runs is in an instance
// of its own, below a supervisor that is root's; it is made when it is first needed, as are the files of either.
type users struct {
	opts    Options
	place   agent.Place // of the sandbox's own instance
	main    *agent.Instance
	python  *agent.Python
	runtime string
	killed  func() *backends.LimitError

	mu     sync.Mutex // guards what follows
	paused bool
	root   *rootUser
	whole  map[string]*acting
	closed bool
}

// rootUser is what runs as root.
type rootUser struct {
	agent    *agent.Agent
	instance *agent.Instance
}

// rootHome is root's home folder.
const rootHome = "/root"

type userKey struct{}

// asUser serves requests that say who does them by the mux that serves the others.
func asUser(mux http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, path, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, agentpb.AsPath), "/")
		if !ok || name == "" || strings.HasPrefix("/"+path, agentpb.AsPath) {
			http.NotFound(w, r)
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), userKey{}, name))
		r.URL.Path = "/" + path
		mux.ServeHTTP(w, r)
	})
}

// userOf is who does a request; empty when it does not say.
func userOf(ctx context.Context) string {
	name, _ := ctx.Value(userKey{}).(string)
	return name
}

// allowed says why nothing can be done as a user.
func (u *users) allowed(name string) error {
	switch {
	case name == backends.OrdinaryUser && u.opts.accounts, name == backends.RootUser && u.opts.rootable != nil:
		return nil
	case name == backends.RootUser && u.opts.accounts:
		return fmt.Errorf("user root: %w: nothing may gain privileges in this container; make it with the profile %s", backends.ErrUnsupported,
			backends.ProfileCompatible)
	case name == backends.OrdinaryUser || name == backends.RootUser:
		return fmt.Errorf("user %s: %w: the agent was not started as root", name, backends.ErrUnsupported)
	}
	return fmt.Errorf("user %.40q: %w", name, backends.ErrNoUser)
}

// instance is where a user's programs run; that of the sandbox for the empty name.
func (u *users) instance(name string) (*agent.Instance, error) {
	if name == "" {
		return u.main, nil
	}
	if err := u.allowed(name); err != nil {
		return nil, err
	}
	if name == backends.OrdinaryUser {
		return u.main, nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.closed:
		return nil, backends.ErrDestroyed
	case u.paused:
		return nil, backends.ErrPaused
	case u.root == nil:
		root, err := u.openRoot()
		if err != nil {
			return nil, fmt.Errorf("user root: %w", err)
		}
		u.root = root
	}
	return u.root.instance, nil
}

// openRoot makes root's instance beside that of the sandbox, with the same limits for it. The caller holds the lock.
func (u *users) openRoot() (*rootUser, error) {
	runtime, private := filepath.Join(u.runtime, "root"), filepath.Join(u.place.Private, "root")
	if err := errors.Join(makeFolder(runtime), makeFolder(private)); err != nil {
		return nil, err
	}
	a, err := agent.New(agent.Config{
		Python: u.python, RuntimeDir: runtime, Logger: u.opts.Logger, NoCgroup: true, Launcher: u.opts.rootable,
		NoForkServer: true, Killed: u.killed,
	})
	if err != nil {
		return nil, err
	}
	place := u.place
	place.Mark, place.Home, place.Private, place.Runtime = rand.Text(), rootHome, private, filepath.Join(runtime, "k")
	place.User, place.Python = backends.RootUser, u.main
	place.Env = maps.Clone(u.place.Env)
	in, err := a.Open(place)
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return &rootUser{a, in}, nil
}

// files are all of the machine's, as a user has them.
func (u *users) files(name string) (backends.FileSystem, error) {
	if err := u.allowed(name); err != nil {
		return nil, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return nil, backends.ErrDestroyed
	}
	if u.whole[name] == nil {
		files, err := newActing(u.main, name == backends.RootUser)
		if err != nil {
			return nil, err
		}
		if u.whole == nil {
			u.whole = make(map[string]*acting)
		}
		u.whole[name] = files
	}
	return u.whole[name], nil
}

// each does something with every instance, root's if there is one last.
func (u *users) each(do func(*agent.Instance) error) error {
	err := do(u.main)
	if u.root != nil {
		err = errors.Join(err, do(u.root.instance))
	}
	return err
}

func (u *users) pause(ctx context.Context) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	err := u.each(func(in *agent.Instance) error { return in.Pause(ctx) })
	u.paused = err == nil
	if err != nil && u.root != nil { // half of it is worse than nothing
		err = errors.Join(err, u.each(func(in *agent.Instance) error { return in.Resume(context.WithoutCancel(ctx)) }))
	}
	return err
}

func (u *users) resume(ctx context.Context) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	err := u.each(func(in *agent.Instance) error { return in.Resume(ctx) })
	if err == nil {
		u.paused = false
	}
	return err
}

// setEnv gives every process that is started from now on further variables. Nothing is starting meanwhile.
func (u *users) setEnv(env map[string]string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := maps.Clone(u.place.Env)
	if all == nil {
		all = make(map[string]string)
	}
	maps.Copy(all, env)
	u.place.Env = all
	_ = u.each(func(in *agent.Instance) error { in.SetEnv(env); return nil })
}

// add adds what root's processes use to the figures of the others. Disk is counted with these.
func (u *users) add(ctx context.Context, stats *backends.Stats) error {
	u.mu.Lock()
	root := u.root
	u.mu.Unlock()
	if root == nil {
		return nil
	}
	more, err := root.instance.Stats(ctx)
	if err != nil {
		return err
	}
	stats.CPU += more.CPU
	stats.Memory += more.Memory
	stats.Processes += more.Processes
	stats.Threads += more.Threads
	return nil
}

// close ends what root runs, and the use of files.
func (u *users) close() error {
	u.mu.Lock()
	u.closed = true
	root, whole := u.root, u.whole
	u.root, u.whole = nil, nil
	u.mu.Unlock()
	var err error
	for _, files := range whole {
		err = errors.Join(err, files.close())
	}
	if root != nil {
		err = errors.Join(err, root.instance.Close(context.Background()), root.agent.Close())
	}
	return err
}
