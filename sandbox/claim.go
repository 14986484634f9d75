package sandbox

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// readByLibraries are variables that a ready interpreter has read, besides those of backends.ReadAtStart.
var readByLibraries = map[string]bool{
	"MPLBACKEND": true, "MPLCONFIGDIR": true, "MATPLOTLIBRC": true, "TZ": true, "HOME": true, "IPYTHONDIR": true,
}

func special(env map[string]string) bool {
	for name := range env {
		if backends.ReadAtStart(name) || readByLibraries[name] {
			return true
		}
	}
	return false
}

// pulse is how long a spare may take to show that it lives.
const pulse = time.Second

// claim makes a spare what the options ask for, which differ from what it was made with only in what can be changed. All that
// takes a round trip is done at once. After an error it is of no use to anybody.
func (s *Sandbox) claim(ctx context.Context, o *Options) error {
	c := s.knownDefault("python")
	setter, canSet := s.instance.(backends.EnvSetter)
	if len(o.Env) > 0 && !canSet {
		return errors.New("its commands would lack the variables")
	}
	s.mu.Lock()
	s.metadata, s.started, s.cull = maps.Clone(o.Metadata), time.Now(), cmp.Or(o.CullAfter, s.engine.config.CullAfter)
	s.mu.Unlock()
	c.mu.Lock()
	c.idler.after = s.cull
	c.mu.Unlock()
	s.expireIn(cmp.Or(o.TimeToLive, s.engine.config.DefaultTimeToLive))
	tasks := []func() error{func() error { return c.greet(ctx, o.Env) }}
	if len(o.Env) > 0 {
		tasks = append(tasks, func() error { setter.SetEnv(o.Env); return nil })
	}
	network := s.engine.containerFor(o.Container).Network
	if s.container.Network.Mode != "" && !reflect.DeepEqual(network, s.container.Network) {
		tasks = append(tasks, func() error { return s.SetNetwork(ctx, network) })
	}
	if claimer, ok := s.instance.(backends.Claimer); ok {
		tasks = append(tasks, func() error { return claimer.Claim(ctx) }, func() error { s.remember(); return nil })
	}
	if err := atOnce(tasks...); err != nil {
		return err
	}
	c.idle()
	return nil
}

// atOnce does all of it, the first on this goroutine.
func atOnce(tasks ...func() error) error {
	errs := make([]error, len(tasks))
	var wg sync.WaitGroup
	for i, task := range tasks[1:] {
		wg.Go(func() { errs[i+1] = task() })
	}
	errs[0] = tasks[0]()
	wg.Wait()
	return errors.Join(errs...)
}

// greet gives the interpreter variables, if it is ready, and tells why it does not answer or will not go on doing so.
func (c *Context) greet(ctx context.Context, env map[string]string) error {
	k := c.current()
	if state := k.Conn().State(); state != kernel.Idle {
		return fmt.Errorf("its interpreter is %s", state)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, pulse, fmt.Errorf("its interpreter did not answer within %v", pulse))
	defer cancel()
	var err error
	if len(env) > 0 {
		err = c.setEnv(ctx, env)
	} else {
		_, err = k.Conn().Call(ctx, messaging.Control, new(messaging.KernelInfoRequest))
	}
	if dependent, ok := k.Process().(backends.Dependent); ok && dependent.Doomed() {
		return errors.New("its fork server has ended")
	}
	return err
}

// setEnv sets variables of an interpreter.
func (c *Context) setEnv(ctx context.Context, env map[string]string) error {
	text, err := json.Marshal(env)
	if err != nil {
		return err
	}
	quoted, err := json.Marshal(string(text)) // a JSON string of JSON is a Python string
	if err != nil {
		return err
	}
	return c.quietly(ctx, fmt.Sprintf("__import__('os').environ.update(__import__('json').loads(%s))", quoted))
}

// quietly runs code of ours between two runs.
func (c *Context) quietly(ctx context.Context, code string) error {
	return quietly(ctx, c.current(), code)
}

func quietly(ctx context.Context, k *kernel.Kernel, code string) error {
	e, err := k.Conn().Execute(ctx, &messaging.ExecuteRequest{Code: code, Silent: true}, nil)
	if err != nil {
		return err
	}
	defer func() { _ = e.Close() }()
	reply, err := e.Wait(ctx)
	if err == nil && reply.Status != messaging.StatusOK {
		err = fmt.Errorf("%s: %s", reply.EName, reply.EValue)
	}
	return err
}
