package sandbox

import (
	"context"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/kernel"
)

// stepPause is the time between the steps of a ladder.
const stepPause = time.Second

// ladder ends a run whose time is over: interrupt, interrupt again, undo the run if it can be, else restart the kernel. It has
// no goroutine of its
// own; its steps run on timers of the sandbox's clock.
type ladder struct {
	context *Context
	timeout time.Duration

	mu         sync.Mutex
	execution  *kernel.Execution
	timer      *kernel.Timer
	begun      bool
	started    time.Duration // on the sandbox's clock
	step       TimeoutStep   // taken last; empty while there is time
	restarting chan struct{} // closed when the restart is done
	restartErr error
	rolledBack bool
	stopped    bool
}

func newLadder(c *Context, timeout time.Duration) *ladder {
	return &ladder{context: c, timeout: timeout}
}

// start begins to count. The kernel's connection calls it when the kernel starts the run.
func (l *ladder) start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun, l.started = true, l.clock().Now()
	if l.timeout != NoTimeout && !l.stopped {
		l.timer = l.clock().AfterFunc(l.timeout, l.climb)
	}
}

// watch names the run that the steps are for.
func (l *ladder) watch(e *kernel.Execution) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.execution = e
}

// climb takes the next step.
func (l *ladder) climb() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	if l.execution == nil { // a timeout shorter than the call that starts the run
		l.timer = l.clock().AfterFunc(time.Millisecond, l.climb)
		return
	}
	switch l.step {
	case "":
		l.step = StepInterrupt
	case StepInterrupt:
		l.step = StepAgain
	default:
		l.step = StepRestart
		l.restarting = make(chan struct{})
		go l.restart()
		return
	}
	l.timer = l.clock().AfterFunc(stepPause, l.climb)
	// Not under our lock: the execution calls start under its own.
	go l.execution.Interrupt()
}

// restart is the last step.
func (l *ladder) restart() {
	defer close(l.restarting)
	ctx, cancel := context.WithTimeout(context.Background(), l.context.sandbox.engine.config.StartTimeout)
	defer cancel()
	rolledBack, err := l.context.recover(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.restartErr, l.rolledBack = err, rolledBack
	if rolledBack {
		l.step = StepRollback
	}
}

// stop ends the ladder because the run is over, waits for a restart under way, and tells how the run was ended; nil
// when its time was not over.
func (l *ladder) stop() *TimeoutError {
	l.mu.Lock()
	l.stopped = true
	if l.timer != nil {
		l.timer.Stop()
	}
	restarting := l.restarting
	l.mu.Unlock()
	if restarting != nil {
		<-restarting
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.step == "" {
		return nil
	}
	return &TimeoutError{Timeout: l.timeout, Step: l.step, VariablesLost: l.step == StepRestart, Err: l.restartErr}
}

// clock stands still while the sandbox is paused.
func (l *ladder) clock() *kernel.Clock { return &l.context.sandbox.clock }

// elapsed is the time since the kernel started the run; 0 when it did not.
func (l *ladder) elapsed() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.begun {
		return 0
	}
	return l.clock().Now() - l.started
}
