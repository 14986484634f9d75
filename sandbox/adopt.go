package sandbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// Orphans lists the ids of sandboxes that an earlier program has left, by its end or by Detach, and that Connect takes over. There
// are none on a backend whose sandboxes end with their program.
func (e *Engine) Orphans(ctx context.Context) ([]string, error) {
	adopter, ok := e.backend.(backends.Adopter)
	if !ok {
		return nil, nil
	}
	ids, err := adopter.Orphans(ctx)
	if err != nil {
		return nil, fmt.Errorf("sandbox: list orphans: %w", err)
	}
	return ids, nil
}

// adopt takes over a sandbox of an earlier program. Error: ErrNotFound.
func (e *Engine) adopt(ctx context.Context, id string) (*Sandbox, error) {
	adopter, ok := e.backend.(backends.Adopter)
	if !ok {
		return nil, ErrNotFound
	}
	survivor, err := adopter.Adopt(ctx, id)
	if err != nil {
		return nil, err
	}
	s, err := e.revive(ctx, id, survivor)
	if err == nil {
		err = e.enlist(s)
	}
	if err != nil {
		return nil, letGo(context.WithoutCancel(ctx), survivor, err)
	}
	s.remember()
	return s, nil
}

// letGo gives back what could not be revived, for somebody else may do better. What has ended meanwhile is not found.
func letGo(ctx context.Context, survivor backends.Survivor, err error) error {
	released := survivor.Release(ctx)
	if !errors.Is(released, backends.ErrDestroyed) {
		return errors.Join(err, released)
	}
	if !errors.Is(err, backends.ErrDestroyed) {
		err = fmt.Errorf("%w: %w", released, err)
	}
	return errors.Join(fmt.Errorf("%w: %w", ErrNotFound, err), survivor.Destroy(ctx))
}

// revive makes a sandbox of what an earlier program left.
func (e *Engine) revive(ctx context.Context, id string, survivor backends.Survivor) (*Sandbox, error) {
	m, err := recall(ctx, survivor)
	if err != nil {
		return nil, err
	}
	processes, err := survivor.Kernels(ctx)
	if err != nil {
		return nil, err
	}
	live := make(map[string]backends.KernelProcess, len(processes))
	for _, p := range processes {
		live[p.ID()] = p
	}
	s := &Sandbox{
		engine: e, id: id, instance: survivor, metadata: m.Metadata, started: m.Started, cull: m.Cull, limits: m.Limits,
		creating: semaphore.NewWeighted(1), defaults: make(map[string]*Context), gate: newGate(),
	}
	s.life, s.end = context.WithCancelCause(context.Background())
	for _, known := range m.Contexts {
		process, ok := live[known.Process]
		if !ok && known.Process != "" { // it died while nobody looked
			e.config.Logger.Warn("context of adopted sandbox has ended", "sandbox", id, "context", known.ID)
			continue
		}
		if err := s.adoptContext(ctx, known, process); err != nil {
			s.abandon(ErrDetached)
			return nil, err
		}
	}
	if !m.Expires.IsZero() {
		s.SetTimeToLive(max(time.Until(m.Expires), time.Millisecond))
	}
	return s, nil
}

// adoptContext goes on with an interpreter that lives; with a nil process, with a context that has none yet.
func (s *Sandbox) adoptContext(ctx context.Context, known rememberedContext, process backends.KernelProcess) error {
	config := &s.engine.config
	c := &Context{
		sandbox: s, id: known.ID, language: known.Language, kernelName: known.Kernel, dir: known.Dir, env: known.Env,
		undoable: known.Undoable, turn: semaphore.NewWeighted(1), idler: idler{after: s.cull}, journal: newJournal(config.JournalBytes),
	}
	if process == nil {
		s.enroll(c, known.Default)
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, config.StartTimeout,
		fmt.Errorf("did not answer within %v (Config.StartTimeout)", config.StartTimeout))
	defer cancel()
	found := new(orphan)
	k, run, err := kernel.Adopt(ctx, s.instance, backends.KernelConfig{
		Name: c.kernelName, Dir: c.startDir(), Env: c.env, MaxFrame: config.MaxFrame,
	}, process, s.kernelOptions(), &kernel.ExecuteOptions{
		OnMessage: func(m *messaging.Message) { found.note(c.journal, m) },
	})
	if err != nil {
		return err
	}
	c.kernel = k
	if run != nil {
		found.run = run
		c.orphan = found
	}
	s.enroll(c, known.Default)
	c.idle()
	return nil
}

// orphan is a run that an earlier program began.
type orphan struct {
	run *kernel.Execution

	mu     sync.Mutex // guards what follows
	record *journalRun
	before []*messaging.Message // the record
}

// note keeps a message in the journal, which begins with the code; the kernel repeats that in its execute_input.
func (o *orphan) note(j *Journal, m *messaging.Message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.record == nil && m.Header.MsgType == "status" && len(o.before) == 0 { // the busy before it
		o.before = append(o.before, m)
		return
	}
	if o.record == nil {
		code, silent := "", true
		if content, err := m.Decode(); err == nil {
			if input, ok := content.(*messaging.ExecuteInput); ok {
				code, silent = input.Code, false
			}
		}
		o.record = j.begin(&RunBegan{Code: code, Silent: silent})
		for _, early := range o.before {
			j.add(o.record, early)
		}
		o.before = nil
	}
	j.add(o.record, m)
}

// started is the record of the run; it is begun if nothing was heard of it yet.
func (o *orphan) started(j *Journal) *journalRun {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.record == nil {
		o.record = j.begin(&RunBegan{Silent: true})
	}
	return o.record
}

// Resume goes on with the run that the sandbox's earlier program began, see Engine.Connect: Next gives all that it
// did from its beginning, also when it has ended meanwhile. opts is as in StartCode; its Timeout counts from now. What is run
// besides waits for it; it need not be resumed. Error: ErrNoRun when there was none, or it was resumed already.
func (c *Context) Resume(ctx context.Context, opts *RunOptions) (*Run, error) {
	run, err := c.resume(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("sandbox: resume: %w", c.reason(err))
	}
	return run, nil
}

func (c *Context) resume(ctx context.Context, opts *RunOptions) (*Run, error) {
	o, err := opts.check(c.sandbox)
	if err != nil {
		return nil, err
	}
	if err := c.takeTurn(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	found := c.orphan
	c.orphan = nil
	c.mu.Unlock()
	if found == nil {
		c.passTurn()
		return nil, ErrNoRun
	}
	run := &Run{
		ctx: ctx, context: c, opts: o, execution: found.run, fold: newFold(o.MaxOutput, &c.journal.libraries), ladder: newLadder(c, o.Timeout),
		record: found.started(c.journal), calm: c.sandbox.engine.spares.run(),
	}
	run.ladder.start()
	run.ladder.watch(run.execution)
	run.execution.Bind(ctx)
	return run, nil
}

// Detach lets go of the sandbox and leaves what runs in it as it is, for another program to Connect to, or this one. It ends by
// itself when nobody does in time, on docker two minutes. Runs under way and later calls of this one's end with ErrDetached.
// Error: backends.ErrUnsupported by a backend whose sandboxes end with their program.
func (s *Sandbox) Detach(ctx context.Context) error {
	survivor, ok := s.instance.(backends.Survivor)
	if !ok {
		return fmt.Errorf("sandbox: detach: %w by backend %s", backends.ErrUnsupported, s.engine.choice.Backend)
	}
	s.remember()
	if !s.abandon(ErrDetached) {
		return fmt.Errorf("sandbox: detach: %w", context.Cause(s.life))
	}
	if err := survivor.Release(ctx); err != nil {
		return fmt.Errorf("sandbox: detach: %w", err)
	}
	return nil
}

// abandon ends the sandbox for this program alone; it reports false when it has ended already.
func (s *Sandbox) abandon(cause error) bool {
	s.mu.Lock()
	first := s.killed == nil
	if first {
		s.killed = make(chan struct{})
		close(s.killed)
		if s.expiry != nil {
			s.expiry.Stop()
		}
	}
	contexts := s.contexts
	s.mu.Unlock()
	if !first {
		return false
	}
	s.end(cause)
	for _, c := range contexts {
		c.busy() // it is never idle again
		if k := c.current(); k != nil {
			k.Abandon()
		}
		c.closeViews()
	}
	s.engine.forget(s)
	return true
}
