package bridge

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// Bounds of the runs of one context that wait.
const (
	maxWaiting      = 100
	maxWaitingBytes = 16 << 20 // of their code
)

// Facts about runs.
var (
	errNoQuestion = badRequest("nothing asks for input")
	errDropped    = errors.New("the run was dropped before it began, by an interrupt")
	errEnding     = errors.New("the daemon is ending")
	errEndOfInput = errors.New("there is no more input")
)

// desk is where the runs of one context are kept in order, and its questions answered. It is there while any run is.
type desk struct {
	handler *Handler
	member  *fleet.Member
	context *sandbox.Context

	mu       sync.Mutex    // guards what follows
	jobs     []*job        // that were asked for and have not begun, the next one first
	bytes    int           // of their code
	question *question     // nil while nobody asks
	asked    chan struct{} // closed at the next question; nil when nobody waits for it
}

// job is a run that was asked for.
type job struct {
	code  string
	opts  sandbox.RunOptions
	begun func(run int64, err error) // called once; it must not block
	ctx   context.Context
	drop  context.CancelCauseFunc
}

// question is an input that waits for its answer.
type question struct {
	run    int64
	answer chan reply // holds one
}

type reply struct {
	value string
	end   bool
}

// run puts a run behind those that were asked for before.
func (h *Handler) run(m *fleet.Member, c *sandbox.Context, j *job) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ending {
		return errEnding
	}
	d, working := h.desks[c]
	if !working {
		d = &desk{handler: h, member: m, context: c}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.jobs) >= maxWaiting || d.bytes+len(j.code) > maxWaitingBytes {
		return badRequest("%d runs of this context wait already: wait for some to begin, or interrupt them", len(d.jobs))
	}
	j.ctx, j.drop = context.WithCancelCause(h.life)
	d.jobs = append(d.jobs, j)
	d.bytes += len(j.code)
	if !working {
		h.desks[c] = d
		h.work.Go(d.work)
	}
	return nil
}

// work runs what was asked for, one after the other.
func (d *desk) work() {
	for {
		j := d.first()
		if j == nil {
			return
		}
		d.run(j)
		j.drop(nil)
	}
}

// first is the job to run next; nil when there is none, and then the desk is gone.
func (d *desk) first() *job {
	h := d.handler
	h.mu.Lock()
	defer h.mu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.jobs) == 0 {
		delete(h.desks, d.context)
		return nil
	}
	return d.jobs[0]
}

// take takes a job off the list, when it begins or will not.
func (d *desk) take(j *job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, other := range d.jobs {
		if other == j {
			d.jobs[i] = nil
			d.jobs = append(d.jobs[:i], d.jobs[i+1:]...)
			d.bytes -= len(j.code)
			return
		}
	}
}

// run runs a job to its end. Its output is in the journal, as are the errors of what has begun.
func (d *desk) run(j *job) {
	ctx, detach := d.member.Attach(j.ctx)
	defer detach()
	var number int64
	begun := time.Now()
	j.opts.OnInput = func(ctx context.Context, _ string, _ bool) (string, error) { return d.ask(ctx, number) }
	err := d.member.Awake(ctx)
	var run *sandbox.Run
	if err == nil {
		run, err = d.context.StartCode(ctx, j.code, &j.opts)
	}
	d.take(j)
	if err != nil {
		j.begun(0, err)
		return
	}
	number = run.Number()
	j.begun(number, nil)
	execution, err := run.Wait(context.Background()) // it ends with ctx
	d.member.NoteRun(fleet.Run{Language: d.context.Language(), Took: time.Since(begun), Raised: execution.Error, Err: err})
}

// ask waits for somebody's answer.
func (d *desk) ask(ctx context.Context, run int64) (string, error) {
	q := &question{run: run, answer: make(chan reply, 1)}
	d.setQuestion(q)
	defer d.setQuestion(nil)
	select {
	case r := <-q.answer:
		if r.end {
			return "", errEndOfInput
		}
		return r.value, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

func (d *desk) setQuestion(q *question) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.question = q
	if q != nil && d.asked != nil {
		close(d.asked)
		d.asked = nil
	}
}

// deskOf is the desk of a context; nil when it has no run.
func (h *Handler) deskOf(c *sandbox.Context) *desk {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.desks[c]
}

// askPatience is how long an answer may be before its question: viewers see that in the journal a moment before it comes here.
const askPatience = time.Second

// answer gives the code the line it asks for; of run 0, whichever asks.
func (h *Handler) answer(ctx context.Context, c *sandbox.Context, run int64, r reply) error {
	d := h.deskOf(c)
	if d == nil {
		return errNoQuestion
	}
	ctx, cancel := context.WithTimeoutCause(ctx, askPatience, errNoQuestion)
	defer cancel()
	for {
		asked := d.offer(run, r)
		if asked == nil {
			return nil
		}
		select {
		case <-asked:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// offer answers the question there is; or else the result is closed at the next one.
func (d *desk) offer(run int64, r reply) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if q := d.question; q != nil && (run == 0 || run == q.run) {
		d.question = nil // the first answer counts
		q.answer <- r
		return nil
	}
	if d.asked == nil {
		d.asked = make(chan struct{})
	}
	return d.asked
}

// dropWaiting ends the runs of a context that have not begun, and says how many they were.
func (h *Handler) dropWaiting(c *sandbox.Context) int {
	d := h.deskOf(c)
	if d == nil {
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, j := range d.jobs {
		j.drop(errDropped)
	}
	return len(d.jobs)
}
