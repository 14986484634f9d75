package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// Context is one stateful interpreter of a sandbox: variables, imports and working directory stay from run to run.
// The caller may end it with Remove; Sandbox.Kill ends all.
//
// A context whose kernel died says so once, by the run that was under way or else by the next one, and then starts
// afresh by itself. So does one that was culled, with ErrCulled; see Options.CullAfter.
type Context struct {
	sandbox    *Sandbox
	id         string
	language   string
	kernelName string
	dir        string
	env        map[string]string // given to CreateContext
	undoable   bool              // each run, see ContextOptions
	undoFiles  bool
	turn       *semaphore.Weighted // held by the run under way
	journal    *Journal
	undo       undo

	mu       sync.Mutex
	kernel   *kernel.Kernel // nil before a lazy one is started
	removed  bool
	restarts int   // by Restart
	reported bool  // the kernel's death has been told
	untold   error // death of an earlier kernel that has not been told; see Revive
	attached map[*Attachment]struct{}
	callback uint64 // goroutine that is in a callback of a run; 0 if none
	idler    idler
	orphan   *orphan // a run of an earlier program that nobody has resumed
	began    Start
}

// ContextOptions of Sandbox.CreateContext. Nil and zero fields are the defaults.
type ContextOptions struct {
	Language string            // "python"; any language or name of an installed kernel
	Dir      string            // working directory, a path of the workspace, made when absent, or any other absolute one; the workspace
	Env      map[string]string // on top of the sandbox's
	// Undoable is RunOptions.Undoable for each run. One that can't be undone, because of a thread of the code's for one, runs all
	// the same, and Execution.UndoRefused says why.
	Undoable  bool
	UndoFiles bool // RunOptions.UndoFiles for each run
	Lazy      bool // start the interpreter at its first use rather than now
}

// ID identifies the context in its sandbox.
func (c *Context) ID() string { return c.id }

// Language is what the context was created for, in lower case.
func (c *Context) Language() string { return c.language }

// Kernel is the name of the kernelspec.
func (c *Context) Kernel() string { return c.kernelName }

// Dir is the working directory the context was created with.
func (c *Context) Dir() string { return c.dir }

// State tells what the context's kernel does; kernel.Starting before a lazy one is started.
func (c *Context) State() kernel.State {
	if k := c.current(); k != nil {
		return k.Conn().State()
	}
	return kernel.Starting
}

// Info is what the kernel said of itself; nil before a lazy one is started.
func (c *Context) Info() *messaging.KernelInfoReply {
	if k := c.current(); k != nil {
		return k.Info()
	}
	return nil
}

// RunCode is Sandbox.RunCode in this context.
func (c *Context) RunCode(ctx context.Context, code string, opts *RunOptions) (*Execution, error) {
	var o RunOptions
	if opts != nil {
		o = *opts
	}
	o.Context = c
	return c.sandbox.RunCode(ctx, code, &o)
}

// StartCode is Sandbox.StartCode in this context.
func (c *Context) StartCode(ctx context.Context, code string, opts *RunOptions) (*Run, error) {
	var o RunOptions
	if opts != nil {
		o = *opts
	}
	o.Context = c
	return c.sandbox.StartCode(ctx, code, &o)
}

// current is the kernel; nil before a lazy one is started.
func (c *Context) current() *kernel.Kernel {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kernel
}

func (c *Context) isPython() bool { return c.current().Info().LanguageInfo.Name == "python" }

// kernelOptions are those of every kernel of the sandbox.
func (s *Sandbox) kernelOptions() *kernel.Options {
	e := s.engine
	return &kernel.Options{Logger: e.config.Logger, Clock: &s.clock, Spool: &e.spool}
}

// startKernel starts the context's kernel.
func (c *Context) startKernel(ctx context.Context, env map[string]string) error {
	begun := time.Now()
	config := &c.sandbox.engine.config
	ctx, cancel := context.WithTimeoutCause(ctx, config.StartTimeout,
		fmt.Errorf("not ready within %v (Config.StartTimeout)", config.StartTimeout))
	defer cancel()
	k, err := kernel.Start(ctx, c.sandbox.instance, backends.KernelConfig{
		Name: c.kernelName, Dir: c.startDir(), Env: env, MaxFrame: config.MaxFrame,
	}, c.sandbox.kernelOptions())
	if err != nil {
		return err
	}
	if err := c.enterDir(ctx, k); err != nil {
		return errors.Join(err, k.Shutdown(context.WithoutCancel(ctx)))
	}
	c.mu.Lock()
	c.kernel = k
	c.mu.Unlock()
	c.note(begun)
	c.idle()
	return nil
}

// takeTurn waits until the runs before this one are over.
func (c *Context) takeTurn(ctx context.Context) error {
	c.mu.Lock()
	inside := c.callback
	c.mu.Unlock()
	if inside != 0 && inside == goroutineID() {
		return ErrReentrant
	}
	waiting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.sandbox.life, func() { cancel(context.Cause(c.sandbox.life)) })()
	if err := c.turn.Acquire(waiting, 1); err != nil {
		return context.Cause(waiting)
	}
	if err := context.Cause(c.sandbox.life); err != nil {
		c.passTurn()
		return err
	}
	c.busy()
	return nil
}

func (c *Context) passTurn() {
	c.idle()
	c.turn.Release(1)
}

// enterCallback notes that a callback of this context's run is about to be called; the result ends that.
func (c *Context) enterCallback(goroutine uint64) (leave func()) {
	if goroutine == 0 {
		goroutine = goroutineID()
	}
	c.setCallback(goroutine)
	return func() { c.setCallback(0) }
}

func (c *Context) setCallback(goroutine uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.callback = goroutine
}

// liveKernel is the kernel to run on. It belongs to the holder of the turn.
func (c *Context) liveKernel(ctx context.Context) (*kernel.Kernel, error) {
	if err := c.wake(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	k, removed, reported, untold := c.kernel, c.removed, c.reported, c.untold
	c.untold = nil
	c.mu.Unlock()
	if removed {
		return nil, ErrRemoved
	}
	dead := k.Conn().Err()
	switch {
	case dead == nil && untold == nil:
		return k, nil
	case dead == nil:
		return nil, fmt.Errorf("between two runs, its variables are lost: %w", untold)
	}
	dead = c.reason(dead)
	c.noteDeath(dead)
	if !reported {
		return nil, fmt.Errorf("between two runs, its variables are lost, the next run starts afresh: %w", dead)
	}
	if err := c.reviveKernel(ctx); err != nil {
		return nil, err
	}
	return k, nil
}

// noteDeath remembers that the death of the kernel has been told.
func (c *Context) noteDeath(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reported = c.reported || errors.Is(err, kernel.ErrDead) || errors.Is(err, ErrCulled)
}

func (c *Context) restartKernel(ctx context.Context) error {
	return c.renewKernel(ctx, func(k *kernel.Kernel) (bool, error) { return true, k.Restart(ctx) })
}

// reviveKernel is restartKernel for one that is dead.
func (c *Context) reviveKernel(ctx context.Context) error {
	return c.renewKernel(ctx, func(k *kernel.Kernel) (bool, error) { return k.Revive(ctx) })
}

func (c *Context) renewKernel(ctx context.Context, renew func(*kernel.Kernel) (renewed bool, err error)) error {
	c.mu.Lock()
	k, removed := c.kernel, c.removed
	c.mu.Unlock()
	switch {
	case removed:
		return ErrRemoved
	case k == nil: // its first use starts it
		return nil
	}
	leave, err := c.sandbox.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	begun := time.Now()
	if renewed, err := renew(k); err != nil || !renewed {
		return err
	}
	if err := c.enterDir(ctx, k); err != nil { // it was there before: better a context elsewhere than none
		c.sandbox.engine.config.Logger.Warn("restart context", "sandbox", c.sandbox.id, "context", c.id, "error", err)
	}
	c.revived(OnRestart, begun)
	return nil
}

// revived notes that the kernel is another, and alive.
func (c *Context) revived(why Occasion, begun time.Time) {
	c.sandbox.engine.starts.add(why, c.note(begun))
	c.mu.Lock()
	c.reported, c.untold, c.idler.culled = false, nil, false
	c.mu.Unlock()
	c.journal.restarted(why)
	c.idle()
	c.sandbox.remember()
}

// Restart ends the interpreter and starts it anew with the same id, directory and environment; variables are lost.
// A run under way ends with ErrRestarted, which is a kernel.ErrDead.
func (c *Context) Restart(ctx context.Context) error {
	ctx, cancel := c.sandbox.startDeadline(ctx, "the new interpreter is")
	defer cancel()
	c.mu.Lock()
	c.restarts++
	c.mu.Unlock()
	if err := c.restartKernel(ctx); err != nil {
		return fmt.Errorf("sandbox: restart context: %w", c.sandbox.reason(err))
	}
	return nil
}

// Interrupt stops what runs in the context as Ctrl-C does; nothing happens when nothing runs.
func (c *Context) Interrupt(ctx context.Context) error {
	if err := c.sandbox.awake(); err != nil {
		return fmt.Errorf("sandbox: interrupt: %w", err)
	}
	k := c.current()
	if k == nil {
		return nil
	}
	if err := k.Interrupt(ctx); err != nil {
		return fmt.Errorf("sandbox: interrupt: %w", c.reason(err))
	}
	return nil
}

// Complete asks how code may go on at cursor, a position in unicode code points. It waits behind a run under way.
func (c *Context) Complete(ctx context.Context, code string, cursor int) (reply *messaging.CompleteReply, err error) {
	err = c.ask("complete", func(conn *kernel.Conn) (err error) {
		reply, err = conn.Complete(ctx, code, cursor)
		return err
	})
	return reply, err
}

// Inspect asks about the name at cursor, a position in unicode code points; detail 1 gives its source too.
func (c *Context) Inspect(ctx context.Context, code string, cursor, detail int) (reply *messaging.InspectReply, err error) {
	err = c.ask("inspect", func(conn *kernel.Conn) (err error) {
		reply, err = conn.Inspect(ctx, code, cursor, detail)
		return err
	})
	return reply, err
}

// IsComplete asks whether code may be run as it stands or wants another line.
func (c *Context) IsComplete(ctx context.Context, code string) (reply *messaging.IsCompleteReply, err error) {
	err = c.ask("is complete", func(conn *kernel.Conn) (err error) {
		reply, err = conn.IsComplete(ctx, code)
		return err
	})
	return reply, err
}

// History asks for earlier inputs of this context.
func (c *Context) History(ctx context.Context, req *messaging.HistoryRequest) (reply *messaging.HistoryReply, err error) {
	err = c.ask("history", func(conn *kernel.Conn) (err error) {
		reply, err = conn.History(ctx, req)
		return err
	})
	return reply, err
}

// SendComm sends data to the kernel's end of a comm, as the widgets of a front end do. It does not wait for the
// kernel, which reads it after the run under way.
func (c *Context) SendComm(ctx context.Context, id string, data json.RawMessage, buffers ...[]byte) error {
	return c.ask("send comm", func(conn *kernel.Conn) error {
		return conn.Notify(ctx, messaging.Shell, &messaging.CommMsg{CommID: id, Data: data}, buffers...)
	})
}

func (c *Context) ask(what string, question func(*kernel.Conn) error) error {
	err := c.sandbox.awake()
	if err == nil {
		err = c.wake(c.sandbox.life)
	}
	if err == nil {
		err = question(c.current().Conn())
		c.idle()
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("sandbox: %s: %w", what, c.reason(err))
}

// Remove ends the interpreter; a run under way ends with kernel.ErrDead and ErrRemoved, later ones with ErrRemoved. It is
// idempotent. Error: ErrPaused.
func (c *Context) Remove(ctx context.Context) error {
	if err := c.sandbox.awake(); errors.Is(err, ErrPaused) { // what is frozen does not even die
		return fmt.Errorf("sandbox: remove context: %w", err)
	}
	c.mu.Lock()
	already := c.removed
	c.removed = true
	k := c.kernel
	c.idler.stop()
	c.mu.Unlock()
	if already {
		return nil
	}
	c.sandbox.forget(c)
	c.sandbox.remember()
	defer c.closeViews()
	c.dropUndo(c.undo.replace(nil))
	if k == nil {
		return nil
	}
	if err := k.Shutdown(ctx); err != nil {
		return fmt.Errorf("sandbox: remove context: %w", err)
	}
	return nil
}

// closeViews ends what shows a context that is gone.
func (c *Context) closeViews() {
	c.journal.close()
	c.detachAll()
}

// LastActivity is when something was last run or asked in the context, or ended.
func (c *Context) LastActivity() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.idler.active
}
