package sandbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/kernel"
)

// Checkpoint is the memory of a context's interpreter at one moment: variables, imports, figures half built, history, random
// numbers to come. It is a process that waits, which costs little as long as the interpreter changes little. It is about files
// only with CheckpointOptions.Files; a file that was open is open again at its place. The caller drops it; otherwise its sandbox does.
type Checkpoint struct {
	// Warnings are what the interpreter has that a copy shares with it or lacks, in words: child processes, connections.
	Warnings []string
	Time     time.Time

	context *Context
	parked  *kernel.Parked
	files   backends.SavedFiles // nil without
}

// CheckpointOptions of Context.Checkpoint. Nil and zero fields are the defaults.
type CheckpointOptions struct {
	// Files keeps the workspace too, and Rollback makes it as it was: what has come since is removed. Where the file system can
	// share blocks that costs little. What is installed and files elsewhere are no part of it. It can't be had of a workspace that
	// is a folder of yours (Options.WorkspacePath).
	Files bool
}

// checkpointPatience bounds how long an interpreter that is idle may take to copy itself.
const checkpointPatience = 15 * time.Second

// deepCopies is the generation from which on copies of an interpreter say that they are copies of copies: a fork costs more
// with each ancestor that lives.
const deepCopies = 20

// Checkpoint keeps the context as it is now, after the runs before. The interpreter must be one of Python's, on Linux.
// Errors: *RefusedError when it has what can't be copied, such as a thread of its own, backends.ErrUnsupported, ErrReentrant,
// kernel.ErrDead, ErrPaused, ErrKilled, the cause of ctx. After an error the context is as it was.
func (c *Context) Checkpoint(ctx context.Context, opts *CheckpointOptions) (*Checkpoint, error) {
	files := opts != nil && opts.Files
	p, err := withTurn(ctx, c, func() (*Checkpoint, error) {
		if _, err := c.liveKernel(ctx); err != nil {
			return nil, err
		}
		return c.checkpoint(ctx, files)
	})
	if err != nil {
		return nil, fmt.Errorf("sandbox: checkpoint: %w", c.reason(err))
	}
	return p, nil
}

// withTurn does something between two runs.
func withTurn[T any](ctx context.Context, c *Context, do func() (T, error)) (T, error) {
	var none T
	if err := c.sandbox.awake(); err != nil {
		return none, err
	}
	if err := c.takeTurn(ctx); err != nil {
		return none, err
	}
	defer c.passTurn()
	return do()
}

// checkpoint copies the live kernel, and the workspace if asked to. It belongs to the holder of the turn.
func (c *Context) checkpoint(ctx context.Context, files bool) (_ *Checkpoint, err error) {
	leave, err := c.sandbox.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	p := &Checkpoint{Time: time.Now(), context: c}
	if p.parked, err = c.park(ctx); err != nil {
		return nil, err
	}
	if files { // only now: what the interpreter had not written yet was written before it was copied
		if p.files, err = c.sandbox.saveFiles(ctx); err != nil {
			return nil, errors.Join(err, p.end(context.WithoutCancel(ctx)))
		}
	}
	p.Warnings = p.parked.Warnings
	if p.parked.Generation >= deepCopies {
		p.Warnings = append(p.Warnings, fmt.Sprintf("the interpreter is a copy of a copy, %d deep: copies of it take longer; "+
			"go back to an earlier checkpoint, or fork an earlier sandbox, where you can", p.parked.Generation))
	}
	return p, nil
}

func (c *Context) park(ctx context.Context) (*kernel.Parked, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, checkpointPatience,
		fmt.Errorf("interpreter did not copy itself within %v", checkpointPatience))
	defer cancel()
	return c.current().Park(ctx)
}

func (s *Sandbox) saveFiles(ctx context.Context) (backends.SavedFiles, error) {
	saver, ok := s.instance.(backends.FileSaver)
	if !ok {
		return nil, fmt.Errorf("keep files: %w by backend %s", backends.ErrUnsupported, s.engine.choice.Backend)
	}
	ctx, cancel := s.startDeadline(ctx, "the copy of the workspace is")
	defer cancel()
	return saver.SaveFiles(ctx)
}

// startDeadline bounds what is done for a start by Config.StartTimeout, and says so when it is over.
func (s *Sandbox) startDeadline(ctx context.Context, what string) (context.Context, context.CancelFunc) {
	limit := s.engine.config.StartTimeout
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("%s not ready within %v (Config.StartTimeout)", what, limit))
}

// Rollback makes the context as it was at the checkpoint, any number of times; later checkpoints stay what they are. What the
// interpreter runs now is waited for. One that has died comes back; what it would have done at its end is done at that of the
// copy, or not at all. Errors: ErrForeignContext, ErrNotFound after Drop, *backends.StartError, ErrReentrant, ErrPaused,
// ErrKilled, the cause of ctx. After an error before the copy was ready the context is as it was, but for files: these are made as
// they were first.
func (c *Context) Rollback(ctx context.Context, p *Checkpoint) error {
	if p == nil || p.context != c {
		return fmt.Errorf("sandbox: rollback: %w", ErrForeignContext)
	}
	_, err := withTurn(ctx, c, func() (struct{}, error) { return struct{}{}, c.rollback(ctx, p, false) })
	if err != nil {
		return fmt.Errorf("sandbox: rollback: %w", c.sandbox.reason(err))
	}
	return nil
}

// rollback replaces the kernel by a copy; last uses that up.
func (c *Context) rollback(ctx context.Context, p *Checkpoint, last bool) error {
	c.mu.Lock()
	k, removed := c.kernel, c.removed
	c.mu.Unlock()
	if removed {
		return ErrRemoved
	}
	leave, err := c.sandbox.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	begun := time.Now()
	ctx, cancel := c.sandbox.startDeadline(ctx, "the copy is")
	defer cancel()
	if p.files != nil {
		if err := c.restoreFiles(ctx, k, p); err != nil {
			return err
		}
	}
	wake := backends.WakeConfig{Last: last, Restored: p.files != nil, MaxFrame: c.sandbox.engine.config.MaxFrame}
	if err := k.Rollback(ctx, p.parked, wake); err != nil {
		return err
	}
	c.revived(OnRollback, begun)
	return nil
}

// restoreFiles makes the workspace as it was. An interpreter that does not end what it runs would go on writing there.
func (c *Context) restoreFiles(ctx context.Context, k *kernel.Kernel, p *Checkpoint) error {
	if state := k.Conn().State(); state == kernel.Busy || state == kernel.Stuck {
		if err := k.Process().Signal(ctx, backends.Kill); err != nil {
			return err
		}
		if _, err := k.Process().Wait(ctx); err != nil && ctx.Err() != nil {
			return err
		}
	}
	return p.files.Restore(ctx)
}

// Drop ends the checkpoint and gives its memory back. It is idempotent.
func (p *Checkpoint) Drop(ctx context.Context) error {
	if err := p.end(ctx); err != nil {
		return fmt.Errorf("sandbox: drop checkpoint: %w", err)
	}
	return nil
}

func (p *Checkpoint) end(ctx context.Context) error {
	var errs []error
	if p.parked != nil {
		errs = append(errs, p.parked.Close(ctx))
	}
	if p.files != nil {
		errs = append(errs, p.files.Close(ctx))
	}
	return errors.Join(errs...)
}

// undo is what the last run of a context can be undone with.
type undo struct {
	mu         sync.Mutex // guards checkpoint
	checkpoint *Checkpoint
}

// replace keeps a checkpoint instead of the one before, which it returns.
func (u *undo) replace(p *Checkpoint) *Checkpoint {
	u.mu.Lock()
	defer u.mu.Unlock()
	old := u.checkpoint
	u.checkpoint = p
	return old
}

// prepareUndo takes a checkpoint before a run, if the run or the context wants one. A context that wants one of each run does
// without where it can't be had: refused says why. It belongs to the holder of the turn.
func (c *Context) prepareUndo(ctx context.Context, opts *RunOptions) (refused *RefusedError, err error) {
	var p *Checkpoint
	if opts.Undoable || c.undoable && !opts.NoUndo {
		p, err = c.checkpoint(ctx, opts.UndoFiles || c.undoFiles)
	}
	switch {
	case err == nil:
	case !opts.Undoable && errors.As(err, &refused):
	default:
		return nil, fmt.Errorf("checkpoint before the run: %w", err)
	}
	c.dropUndo(c.undo.replace(p))
	return refused, nil
}

func (c *Context) dropUndo(p *Checkpoint) {
	if p == nil {
		return
	}
	if err := p.Drop(context.Background()); err != nil && c.sandbox.life.Err() == nil {
		c.sandbox.engine.config.Logger.Debug("drop checkpoint", "sandbox", c.sandbox.id, "context", c.id, "error", err)
	}
}

// Undo makes the context as it was before its last run, which had RunOptions.Undoable. It can be done once. Errors: those of
// Rollback; ErrNotFound when there is nothing to undo.
func (c *Context) Undo(ctx context.Context) error {
	_, err := withTurn(ctx, c, func() (struct{}, error) { return struct{}{}, c.undoRun(ctx) })
	if err != nil {
		return fmt.Errorf("sandbox: undo: %w", c.sandbox.reason(err))
	}
	return nil
}

// undoRun rolls back to before the last run.
func (c *Context) undoRun(ctx context.Context) error {
	p := c.undo.replace(nil)
	if p == nil {
		return fmt.Errorf("run before which no checkpoint was taken: %w", ErrNotFound)
	}
	err := c.rollback(ctx, p, true)
	c.dropUndo(p) // what is left of it
	return err
}

// undoCrash undoes the run that killed its kernel, if it can be, and returns what to say.
func (c *Context) undoCrash(death error) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.sandbox.engine.config.StartTimeout)
	defer cancel()
	switch err := c.undoRun(ctx); {
	case err == nil:
		return &UndoneError{Err: death}
	case errors.Is(err, ErrNotFound):
		return death
	default:
		return fmt.Errorf("%w; it could not be undone: %w", death, err)
	}
}

// recover makes the context usable after a run that its kernel did not survive, or would not end: by undoing the run if it
// can be, else by starting afresh.
func (c *Context) recover(ctx context.Context) (rolledBack bool, err error) {
	err = c.undoRun(ctx)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, ErrNotFound):
	default:
		c.sandbox.engine.config.Logger.Warn("undo run", "sandbox", c.sandbox.id, "context", c.id, "error", err)
	}
	return false, c.restartKernel(ctx)
}
