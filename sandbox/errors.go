package sandbox

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Facts about sandboxes and runs. They come wrapped; ask with errors.Is. A kernel that died is kernel.ErrDead, with a
// *backends.ExitError when its exit was seen, and in that a *LimitError when a limit ended it; a kernel that could not
// start is a *backends.StartError.
var (
	ErrNotFound       = backends.ErrNotFound
	ErrPaused         = backends.ErrPaused // nothing may be run or asked until Resume
	ErrTimeout        = errors.New("timed out")
	ErrKilled         = errors.New("sandbox was killed")
	ErrDetached       = errors.New("sandbox was let go of by Detach: use Engine.Connect to take it over")
	ErrNoRun          = errors.New("no run of an earlier program is left to resume")
	ErrClosed         = errors.New("engine is closed")
	ErrRemoved        = errors.New("context was removed")
	ErrRestarted      = errors.New("context was restarted")
	ErrCulled         = errors.New("context was idle for longer than CullAfter and was ended")
	ErrForeignContext = errors.New("context belongs to another sandbox: use one made by this sandbox's CreateContext")
	ErrReentrant      = errors.New("RunCode was called from a callback of a run on the same context, which would wait for itself: " +
		"run it after the first call has returned, or on another context")
	ErrTooLarge    = errors.New("file is too large to read at once: use Open")
	ErrInvalidCode = errors.New("code can't be run as it is")
	ErrInvalidEnv  = errors.New("environment variable")
)

// ConfigError says what is wrong with a Config, or with a variable that stands for a part of one.
type ConfigError struct{ Err error }

func (e *ConfigError) Error() string { return e.Err.Error() }

func (e *ConfigError) Unwrap() error { return e.Err }

// TimeoutStep is a step of the ladder that ends a run whose time is over.
type TimeoutStep string

// The steps, in order: each is taken when the one before did not end the run.
const (
	StepInterrupt TimeoutStep = "interrupt"        // at the timeout
	StepAgain     TimeoutStep = "second interrupt" // 1 s later
	StepRestart   TimeoutStep = "restart"          // another 1 s later: the kernel did not answer
	StepRollback  TimeoutStep = "rollback"         // instead of a restart, where RunOptions.Undoable was set
	StepNone      TimeoutStep = "itself"           // the code ended as if nothing had been; it has all its results
)

// TimeoutError says that a run's time was over and what ended it. It is ErrTimeout.
type TimeoutError struct {
	Timeout       time.Duration
	Step          TimeoutStep // the one that ended the run
	VariablesLost bool        // the session's variables are gone
	Err           error       // what the last step failed with; nil normally
}

func (e *TimeoutError) Error() string {
	fate := "its variables are kept"
	switch {
	case e.VariablesLost:
		fate = "its variables are lost"
	case e.Step == StepRollback:
		fate = "its variables are what they were before the run"
	}
	msg := fmt.Sprintf("run timed out after %v: ended by %s, %s", e.Timeout, e.Step, fate)
	if e.Err != nil {
		msg += ": " + e.Err.Error()
	}
	return msg
}

// Is makes errors.Is(err, ErrTimeout) true.
func (e *TimeoutError) Is(target error) bool { return target == ErrTimeout }

func (e *TimeoutError) Unwrap() error { return e.Err }

// UndoneError says that a run killed its interpreter and was undone: the variables are what they were before it.
type UndoneError struct {
	Err error // how the interpreter died; kernel.ErrDead
}

func (e *UndoneError) Error() string { return e.Err.Error() + "; the run was undone" }

func (e *UndoneError) Unwrap() error { return e.Err }

// CommandExitError says that a command ended with another exit code than 0, or by a signal.
type CommandExitError struct{ Result *CommandResult }

func (e *CommandExitError) Error() string {
	msg := fmt.Sprintf("command exited with code %d", e.Result.ExitCode)
	if e.Result.Signal != "" {
		msg = "command was ended by " + e.Result.Signal
	}
	if e.Result.Limit != nil {
		return msg + ": " + e.Result.Limit.Error()
	}
	return msg + lastLine(e.Result.Stderr)
}

// Unwrap is the *LimitError of a command that a limit ended.
func (e *CommandExitError) Unwrap() error {
	if e.Result.Limit == nil {
		return nil
	}
	return e.Result.Limit
}

// CommandTimeoutError says that a command's time was over and that its process group was ended. It is ErrTimeout.
type CommandTimeoutError struct {
	Timeout time.Duration
	Result  *CommandResult // all output until then
}

func (e *CommandTimeoutError) Error() string {
	return fmt.Sprintf("command timed out after %v: its process group was ended", e.Timeout)
}

// Is makes errors.Is(err, ErrTimeout) true.
func (e *CommandTimeoutError) Is(target error) bool { return target == ErrTimeout }

// maxLastLine bounds what an error quotes of an output, bytes.
const maxLastLine = 200

// lastLine is the last line of an error output, for a message.
func lastLine(s string) string {
	s = strings.TrimSpace(s[max(0, len(s)-10*maxLastLine):])
	s = s[strings.LastIndexByte(s, '\n')+1:]
	if s == "" {
		return ""
	}
	return ": " + strings.ToValidUTF8(s[max(0, len(s)-maxLastLine):], "\uFFFD")
}

// ExecutionError is an exception of the code: data, until Execution.Err makes it an error.
type ExecutionError struct {
	Name      string `json:"name"`
	Value     string `json:"value"`
	Traceback string `json:"traceback"` // lines joined by "\n", with the kernel's ANSI colours
}

func (e *ExecutionError) Error() string {
	if e.Value == "" {
		return e.Name
	}
	return e.Name + ": " + e.Value
}

// PlainTraceback is the traceback without colours.
func (e *ExecutionError) PlainTraceback() string { return stripANSI(e.Traceback) }

// stripANSI removes escape sequences of the CSI kind, which is what tracebacks hold.
func stripANSI(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); {
		if s[i] == '\x1b' && i+1 < len(s) && s[i+1] == '[' {
			j := i + 2
			for j < len(s) && (s[j] < 0x40 || s[j] > 0x7e) {
				j++
			}
			i = min(j+1, len(s))
			continue
		}
		b.WriteByte(s[i])
		i++
	}
	return b.String()
}

// LimitError says which of the sandbox's limits ended a kernel or command, or keeps one from starting. It is found with
// errors.As in what RunCode and the others return.
type LimitError = backends.LimitError
