package kernel

import "errors"

// Facts about a kernel and its runs. They come wrapped; ask with errors.Is.
var (
	// ErrDead says that the kernel's process ended or its connection broke. What it wraps says how: a
	// *backends.ExitError when the exit was seen.
	ErrDead = errors.New("kernel died")
	// ErrClosed says that the connection was closed on our side.
	ErrClosed = errors.New("kernel connection closed")
	// ErrInterruptTimeout says that a run did not end within Options.InterruptGrace after its interrupt. The
	// kernel is stuck from then on, until it is done with the run. The cause of the run's context comes with it.
	ErrInterruptTimeout = errors.New("kernel did not react to an interrupt")
	// ErrStuck says that an earlier run did not react to its interrupt and is not over, so nothing can be asked until it is,
	// or until a restart.
	ErrStuck = errors.New("kernel is stuck in an earlier run: wait for its end or restart it")
	// ErrNoReply says that the kernel finished a request without answering it, because it does not know the
	// request or because the reply was lost.
	ErrNoReply = errors.New("kernel finished without a reply")
	// ErrSlowSubscriber ends a subscription whose reader fell behind its buffer.
	ErrSlowSubscriber = errors.New("subscriber was too slow")
	// ErrNotExecute says that ExecuteMessage was given another message.
	ErrNotExecute = errors.New("not an execute_request that can be run")
	// ErrNoInput says that Reply was called while the run asked for no input.
	ErrNoInput = errors.New("the run asked for no input")
)

// BreakError says that a subscription of Kernel.Subscribe heard the end of the kernel's process, or of the conversation with it. The
// subscription goes on with the next process.
type BreakError struct{ Err error }

func (e *BreakError) Error() string { return e.Err.Error() }

func (e *BreakError) Unwrap() error { return e.Err }
