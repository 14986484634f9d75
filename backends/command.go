package backends

import (
	"context"
	"errors"
	"io"
)

// Cmd is a program to start in an instance.
type Cmd struct {
	// Args are the program and its arguments; a name without a slash is looked up on the environment's PATH. Required.
	Args  []string
	Dir   string            // a path of the FileSystem, which must exist; the workspace when empty. See User
	Env   map[string]string // on top of Spec.Env
	Stdin bool              // a pipe for Write; the null device when false
	PTY   *Size             // run on a terminal of this size; nil is none
	// User of a Machine who runs it, with Dir a name of FilesOf, that user's home when empty. The user of code when empty.
	// Errors: ErrNoUser; ErrUnsupported where instances have one user only, or code may not become root.
	User string
}

// Size is a terminal's, in characters.
type Size struct {
	Cols int `json:"cols"`
	Rows int `json:"rows"`
}

// Command is a started program and our ends of its pipes. Whoever started it reads both outputs to their ends and closes
// them, or the program may wait for ever; the instance's end closes what is left.
type Command interface {
	Process
	PID() int // as the code inside sees it
	// Stdout is the program's output; on a terminal, all of it. Children of the program may hold it open after its end.
	Stdout() io.ReadCloser
	Stderr() io.ReadCloser // nil on a terminal
	// Write writes to the standard input, or types on the terminal. It waits for the program to read; ctx bounds that.
	// Error: ErrNoStdin.
	Write(ctx context.Context, p []byte) (int, error)
	// CloseStdin ends the standard input. Error: ErrNoStdin, on a terminal too, where the character 0x04 does it.
	CloseStdin() error
	// Resize changes the terminal's size. Error: ErrNoTerminal.
	Resize(ctx context.Context, size Size) error
}

// Facts about commands.
var (
	ErrNoStdin    = errors.New("command has no standard input: start it with Stdin, and write before it is closed")
	ErrNoTerminal = errors.New("command runs on no terminal")
)
