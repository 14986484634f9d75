package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// NoTimeout is a Timeout or TimeToLive without end.
const NoTimeout time.Duration = math.MaxInt64

// DefaultMaxOutput is RunOptions.MaxOutput when that is 0.
const DefaultMaxOutput = 64 << 20

// RunOptions of RunCode and StartCode. Nil and zero fields are the defaults.
type RunOptions struct {
	Context  *Context          // where to run; the default context of Language
	Language string            // "python", see ContextOptions; not together with Context
	Env      map[string]string // for this run only; Python, JavaScript, TypeScript, R, bash
	Timeout  time.Duration     // from the kernel's start of the run; Config.DefaultTimeout. NoTimeout is none. See RunCode's ctx
	Silent   bool              // not in the history, no execution count, no value
	Args     []string          // sys.argv during this run; the first is __file__ too; Python kernels
	Tag      string            // for the caller's own use; the Journal has it in RunBegan
	// Undoable takes a checkpoint before the run, so that Context.Undo can undo it. When the run kills its interpreter, or
	// would not end at its time-out, it is undone at once instead of all variables being lost; what is left of the error says so.
	// It takes tens of milliseconds; the run fails with a *RefusedError where it can't be had.
	Undoable bool
	// UndoFiles makes what Undoable undoes the workspace too, see CheckpointOptions.Files.
	UndoFiles bool
	// NoUndo runs without a checkpoint in a context of ContextOptions.Undoable.
	NoUndo bool

	// The callbacks run on the goroutine that called RunCode or Run.Next, one at a time, in the order of the
	// wire. The run waits for none of them: output that piles up past the queue's budget is left out and counted.
	OnStdout func(OutputMessage)
	OnStderr func(OutputMessage)
	OnResult func(*Result) // figures arrive while the code runs; fires again when a display is updated
	OnError  func(*ExecutionError)
	OnClear  func() // clear_output: what was shown so far is to be replaced
	// OnEvent sees all that the kernel sent for this run, its statuses and its reply among it, before it is made
	// into outputs: for what shows kernels' own words, such as notebooks.
	OnEvent func(*kernel.Event)
	// OnInput answers input() and getpass(). Nil: these raise at once, they never hang. An error ends the input
	// with EOFError in the code, or with KeyboardInterrupt when the run's context is done. ctx ends when nobody waits for
	// the answer any more: the run is cancelled, its time is over, its kernel has died.
	OnInput func(ctx context.Context, prompt string, password bool) (string, error)

	// MaxOutput bounds what Execution keeps, in bytes: the text, and apart from it the results; 64 MiB each.
	// Callbacks see what does not fit as well.
	MaxOutput int64

	message *messaging.Message // the request as a front end made it, see StartMessage
}

func (o *RunOptions) check(sandbox *Sandbox) (RunOptions, error) {
	var out RunOptions
	if o != nil {
		out = *o
	}
	if out.Timeout < 0 {
		return out, fmt.Errorf("timeout is %v: use a positive one, 0 for the default, or NoTimeout", out.Timeout)
	}
	if out.Timeout == 0 {
		out.Timeout = sandbox.engine.config.DefaultTimeout
	}
	if out.MaxOutput < 0 {
		return out, fmt.Errorf("max output is %d: use a positive number of bytes, or 0 for the default", out.MaxOutput)
	}
	if out.MaxOutput == 0 {
		out.MaxOutput = DefaultMaxOutput
	}
	if out.Context != nil && out.Language != "" {
		return out, errors.New("only one of Context and Language can be given")
	}
	if out.Context != nil && out.Context.sandbox != sandbox {
		return out, ErrForeignContext
	}
	if out.NoUndo && out.Undoable {
		return out, errors.New("only one of Undoable and NoUndo can be given")
	}
	return out, checkEnv(out.Env)
}

// checkCode refuses what no kernel can be sent, rather than sending something else. Error: ErrInvalidCode.
func checkCode(code string) error {
	if i := strings.IndexByte(code, 0); i >= 0 {
		return fmt.Errorf("%w: it holds a NUL byte at offset %d: remove it, or write \\0 in a string", ErrInvalidCode, i)
	}
	if utf8.ValidString(code) {
		return nil
	}
	for i, r := range code {
		if r == utf8.RuneError && !strings.HasPrefix(code[i:], "\uFFFD") {
			return fmt.Errorf("%w: it is not valid UTF-8 at offset %d: convert it to UTF-8", ErrInvalidCode, i)
		}
	}
	return nil
}

// runMetadata carries the run's environment and arguments to our kernel launcher, as one JSON value.
func runMetadata(env map[string]string, args []string) messaging.MIMEBundle {
	if len(env) == 0 && len(args) == 0 {
		return nil
	}
	raw, err := json.Marshal(struct {
		Env  map[string]string `json:"env,omitempty"`
		Args []string          `json:"argv,omitempty"`
	}{env, args})
	if err != nil { // strings always marshal
		return nil
	}
	return messaging.MIMEBundle{"ds_sandbox": raw}
}
