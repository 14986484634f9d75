package agentpb

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"math"
	"strings"
	"unicode/utf8"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Facts about agents that are neither the file system's nor package backends'.
var (
	ErrTakenOver    = errors.New("another host has taken the kernel over")
	ErrUnconfigured = errors.New("the agent was not told yet whose it is")
	ErrKeeperDied   = errors.New("the process above the sandbox's processes died, and they with it")
)

// facts are the kinds of faults, and the code of Connect that comes nearest.
var facts = []struct {
	kind Fault_Kind
	is   error
	code connect.Code
}{
	{Fault_KIND_NOT_EXIST, fs.ErrNotExist, connect.CodeNotFound},
	{Fault_KIND_NOT_FOUND, backends.ErrNotFound, connect.CodeNotFound},
	{Fault_KIND_EXIST, fs.ErrExist, connect.CodeAlreadyExists},
	{Fault_KIND_PERMISSION, fs.ErrPermission, connect.CodePermissionDenied},
	{Fault_KIND_OUTSIDE, backends.ErrOutside, connect.CodePermissionDenied},
	{Fault_KIND_NO_SPACE, backends.ErrNoSpace, connect.CodeResourceExhausted},
	{Fault_KIND_WATCH_LIMIT, backends.ErrWatchLimit, connect.CodeResourceExhausted},
	{Fault_KIND_INVALID, fs.ErrInvalid, connect.CodeInvalidArgument},
	{Fault_KIND_INVALID_NAME, backends.ErrInvalidName, connect.CodeInvalidArgument},
	{Fault_KIND_NOT_REGULAR, backends.ErrNotRegular, connect.CodeInvalidArgument},
	{Fault_KIND_IS_DIR, backends.ErrIsDir, connect.CodeInvalidArgument},
	{Fault_KIND_NOT_DIR, backends.ErrNotDir, connect.CodeInvalidArgument},
	{Fault_KIND_NOT_EMPTY, backends.ErrNotEmpty, connect.CodeFailedPrecondition},
	{Fault_KIND_UNSUPPORTED, backends.ErrUnsupported, connect.CodeUnimplemented},
	{Fault_KIND_DESTROYED, backends.ErrDestroyed, connect.CodeUnavailable},
	{Fault_KIND_PAUSED, backends.ErrPaused, connect.CodeFailedPrecondition},
	{Fault_KIND_NO_STDIN, backends.ErrNoStdin, connect.CodeFailedPrecondition},
	{Fault_KIND_NO_TERMINAL, backends.ErrNoTerminal, connect.CodeFailedPrecondition},
	{Fault_KIND_KEEPER_DIED, ErrKeeperDied, connect.CodeUnavailable},
	{Fault_KIND_END, io.EOF, connect.CodeOutOfRange},
	{Fault_KIND_TAKEN_OVER, ErrTakenOver, connect.CodeAborted},
	{Fault_KIND_NOT_LISTENING, backends.ErrNotListening, connect.CodeUnavailable},
	{Fault_KIND_UNCONFIGURED, ErrUnconfigured, connect.CodeFailedPrecondition},
}

// maxText bounds each text of a fault, bytes.
const maxText = 8 << 10

// bounded is a text that may be shown: valid, and not long. Its end says the most.
func bounded(text string) string {
	if len(text) > maxText {
		text = "..." + text[len(text)-maxText:]
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

func boundedList(list []string) []string {
	const most = 64
	out := make([]string, 0, min(len(list), most))
	for _, text := range list[:min(len(list), most)] {
		if len(text) > 512 {
			text = text[:512]
		}
		out = append(out, strings.ToValidUTF8(text, "\uFFFD"))
	}
	return out
}

// NewFault describes an error.
func NewFault(err error) *Fault {
	f := &Fault{Text: bounded(err.Error())}
	for _, fact := range facts {
		if errors.Is(err, fact.is) {
			f.Kinds = append(f.Kinds, fact.kind)
		}
	}
	var missing *backends.SpecNotFoundError
	var start *backends.StartError
	var exit *backends.ExitError
	var limit *backends.LimitError
	var skipped *backends.SkippedError
	switch {
	case errors.As(err, &missing):
		f.SpecNotFound = &SpecNotFound{Name: bounded(missing.Name), Found: boundedList(missing.Found), Searched: boundedList(missing.Searched)}
	case errors.As(err, &start):
		f.Start = &StartFailure{
			Kernel: bounded(start.Kernel), Stage: start.Stage, Diagnosis: bounded(start.Diagnosis), Remedy: bounded(start.Remedy),
		}
		if start.Err != nil {
			f.Start.Cause = NewFault(start.Err)
		}
	case errors.As(err, &exit):
		f.Exit = &ExitFailure{Status: NewExitStatus(exit.Status), Output: bounded(exit.Output)}
	case errors.As(err, &skipped):
		f.Skipped = newSkipped(skipped)
	case errors.As(err, &limit):
		f.Limit = NewLimit(limit)
	}
	return f
}

// newSkipped describes what was left out, each without causes of its own.
func newSkipped(e *backends.SkippedError) *Skipped {
	x := &Skipped{Count: int64(e.Count)}
	for _, s := range e.Skipped {
		cause := &Fault{Text: bounded(s.Err.Error())}
		for _, fact := range facts {
			if errors.Is(s.Err, fact.is) {
				cause.Kinds = append(cause.Kinds, fact.kind)
			}
		}
		x.Entries = append(x.Entries, &Skipped_Entry{Name: bounded(s.Name), Cause: cause})
	}
	return x
}

func (x *Skipped) err(depth int) error {
	e := new(backends.SkippedError)
	for _, entry := range x.Entries[:min(len(x.Entries), backends.MaxSkipped)] {
		e.Add(bounded(entry.GetName()), entry.GetCause().err(depth-1))
	}
	e.Count = max(e.Count, int(min(x.Count, math.MaxInt32)))
	if e.Count == 0 {
		return errors.New("unknown")
	}
	return e
}

// ConnectError is an error as Connect carries it.
func ConnectError(err error) *connect.Error {
	if known := new(connect.Error); errors.As(err, &known) {
		return known
	}
	code := connect.CodeInternal
	switch {
	case errors.Is(err, context.Canceled):
		code = connect.CodeCanceled
	case errors.Is(err, context.DeadlineExceeded):
		code = connect.CodeDeadlineExceeded
	default:
		for _, fact := range facts {
			if errors.Is(err, fact.is) {
				code = fact.code
				break
			}
		}
	}
	f := NewFault(err)
	e := connect.NewError(code, errors.New(f.Text))
	if detail, err := connect.NewErrorDetail(f); err == nil {
		e.AddDetail(detail)
	}
	return e
}

// FaultOf is the fault that an error of Connect carries; nil when it carries none, and so was not told by the agent's services.
func FaultOf(err *connect.Error) *Fault {
	for _, detail := range err.Details() {
		if value, err := detail.Value(); err == nil {
			if f, ok := value.(*Fault); ok {
				return f
			}
		}
	}
	return nil
}

// Encode is a fault as a trailer has it.
func (x *Fault) Encode() string {
	data, err := proto.Marshal(x)
	if err != nil || len(data) > MaxFault {
		data, _ = proto.Marshal(&Fault{Kinds: x.Kinds, Text: x.Text})
	}
	return base64.StdEncoding.EncodeToString(data)
}

// DecodeFault reads a trailer.
func DecodeFault(text string) (*Fault, error) {
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	f := new(Fault)
	return f, proto.Unmarshal(data, f)
}

// fault is a Fault as an error.
type fault struct {
	text  string
	is    []error
	limit *backends.LimitError // that was reached; may be nil
}

func (f *fault) Error() string { return f.text }

func (f *fault) Unwrap() error {
	if f.limit == nil {
		return nil
	}
	return f.limit
}

func (f *fault) Is(target error) bool {
	for _, is := range f.is {
		if is == target {
			return true
		}
	}
	return false
}

// Err is the error that a fault tells of; the deepest causes that are worth it count.
func (x *Fault) Err() error { return x.err(4) }

func (x *Fault) err(depth int) error {
	if x == nil || depth == 0 {
		return errors.New("unknown")
	}
	switch {
	case x.SpecNotFound != nil:
		s := x.SpecNotFound
		return &backends.SpecNotFoundError{Name: bounded(s.Name), Found: boundedList(s.Found), Searched: boundedList(s.Searched)}
	case x.Start != nil:
		s := x.Start
		return &backends.StartError{
			Kernel: bounded(s.Kernel), Stage: bounded(s.Stage), Diagnosis: bounded(s.Diagnosis), Remedy: bounded(s.Remedy),
			Err: s.Cause.err(depth - 1),
		}
	case x.Exit != nil:
		return &backends.ExitError{Status: x.Exit.Status.Value(), Output: bounded(x.Exit.Output)}
	case x.Skipped != nil:
		return x.Skipped.err(depth)
	case x.Limit != nil && len(x.Kinds) == 0:
		return x.Limit.Value()
	}
	text := bounded(x.Text)
	if text == "" || !utf8.ValidString(text) {
		text = "unknown"
	}
	f := &fault{text: text}
	if x.Limit != nil {
		f.limit = x.Limit.Value()
	}
	for _, kind := range x.Kinds[:min(len(x.Kinds), len(facts))] {
		for _, fact := range facts {
			if fact.kind == kind {
				f.is = append(f.is, fact.is)
			}
		}
	}
	return f
}
