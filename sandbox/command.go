package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/kernel"
)

// TerminalSize is a terminal's, in characters.
type TerminalSize = backends.Size

// Command is a program that was started in a sandbox. Any number of goroutines may use it. It needs no closing: its end, or
// the sandbox's, frees what it holds.
type Command struct {
	sandbox  *Sandbox
	process  backends.Command
	pid      int
	tag      string
	args     []string
	terminal bool
	started  time.Time
	begun    time.Duration  // on the sandbox's clock
	caller   *CommandOutput // of the starter's callbacks; nil without any
	told     chan struct{}  // closed when the callbacks have heard all
	pumps    sync.WaitGroup // of the two outputs

	exited chan struct{} // closed when the program has ended
	done   chan struct{} // closed when all that follows is settled
	result *CommandResult
	err    error

	mu             sync.Mutex // guards what follows
	stdout, stderr *clip
	readers        map[*CommandOutput]bool
	last           time.Time // when output last came
	held           int       // readers that hold up an output now
	expiry         *kernel.Timer
	timedOut       time.Duration // the timeout that is over; 0 as long as none is
}

// CommandInfo describes a command.
type CommandInfo struct {
	PID       int       `json:"pid"`
	Tag       string    `json:"tag,omitempty"`
	Args      []string  `json:"args"`
	Terminal  bool      `json:"terminal,omitempty"`
	StartedAt time.Time `json:"started_at"`
}

// CommandResult is how a command ended and what it wrote.
type CommandResult struct {
	PID      int         `json:"pid"`
	ExitCode int         `json:"exit_code"`        // -1 when a signal ended it
	Signal   string      `json:"signal,omitempty"` // "SIGKILL" and so on
	Limit    *LimitError `json:"limit,omitempty"`  // of the sandbox that ended it; nil when none did
	// LimitsHit are the limits that were enforced on the command or its children, such as one that was ended for memory; see
	// backends.ExitStatus.
	LimitsHit []*LimitError `json:"limits_hit,omitempty"`
	Stdout    string        `json:"stdout"` // on a terminal, all output
	Stderr    string        `json:"stderr"`
	Truncated int64         `json:"truncated,omitempty"` // bytes left out in the middle of Stdout and Stderr, where a line says so
	Wall      time.Duration `json:"wall"`                // ns, from start to end; pauses do not count
}

func newCommand(s *Sandbox, process backends.Command, args []string, terminal bool, o CommandOptions) *Command {
	c := &Command{
		sandbox: s, process: process, pid: process.PID(), tag: o.Tag, args: args, terminal: terminal,
		started: time.Now(), begun: s.clock.Now(), told: make(chan struct{}),
		exited: make(chan struct{}), done: make(chan struct{}), readers: make(map[*CommandOutput]bool),
		stdout: newClip(o.MaxOutput), stderr: newClip(o.MaxOutput),
	}
	if o.OnStdout != nil || o.OnStderr != nil {
		c.caller = c.attach(true)
	}
	return c
}

// begin starts the command's goroutines.
func (c *Command) begin(timeout time.Duration) {
	goroutines := &c.sandbox.commands.goroutines
	c.pump(c.process.Stdout(), false)
	if stderr := c.process.Stderr(); stderr != nil {
		c.pump(stderr, true)
	}
	if timeout != NoTimeout {
		c.mu.Lock()
		c.expiry = c.sandbox.clock.AfterFunc(timeout, func() { c.expire(timeout) })
		c.mu.Unlock()
	}
	goroutines.Go(c.follow)
}

// pumpSize is how much is read at once, bytes.
const pumpSize = 32 << 10

// pump hands an output on. After the command's end it goes on to read what children of it may still write, so that they are
// not ended by a closed pipe, and drops it.
func (c *Command) pump(r io.ReadCloser, stderr bool) {
	c.pumps.Add(1)
	c.sandbox.commands.goroutines.Go(func() {
		defer c.pumps.Done()
		defer func() { _ = r.Close() }()
		buf := make([]byte, pumpSize)
		for {
			n, err := r.Read(buf)
			if n > 0 {
				c.publish(CommandMessage{Data: append([]byte(nil), buf[:n]...), Stderr: stderr})
			}
			if err != nil {
				return
			}
		}
	})
}

// publish gives output to everybody who reads.
func (c *Command) publish(m CommandMessage) {
	c.mu.Lock()
	if c.hasEnded() {
		c.mu.Unlock()
		return
	}
	if m.Stderr {
		c.stderr.add(m.Data)
	} else {
		c.stdout.add(m.Data)
	}
	readers := make([]*CommandOutput, 0, len(c.readers))
	for r := range c.readers {
		readers = append(readers, r)
	}
	c.held++
	c.mu.Unlock()
	for _, r := range readers {
		r.push(m)
	}
	c.mu.Lock()
	c.held--
	c.last = time.Now()
	c.mu.Unlock()
}

// How long children of a command that hold its outputs open are listened to after its end: until they are silent, and at
// most so long.
const (
	drainSilence = 250 * time.Millisecond
	drainMost    = 5 * time.Second
)

// follow waits for the end and settles it.
func (c *Command) follow() {
	status, err := c.process.Wait(context.Background())
	close(c.exited)
	c.drain()
	if c.caller != nil {
		c.caller.end()
		select {
		case <-c.told:
		case <-c.sandbox.life.Done():
		}
	}
	c.mu.Lock()
	if c.expiry != nil {
		c.expiry.Stop()
	}
	c.result = &CommandResult{
		PID: c.pid, ExitCode: status.Code, Signal: status.Signal, Limit: status.Limit, LimitsHit: status.LimitsHit,
		Stdout: c.stdout.String(), Stderr: c.stderr.String(),
		Truncated: c.stdout.omitted + c.stderr.omitted, Wall: c.sandbox.clock.Now() - c.begun,
	}
	c.err = c.outcome(err)
	close(c.done)
	readers := c.readers
	c.readers = nil
	c.mu.Unlock()
	for r := range readers {
		r.end()
	}
	_ = c.process.CloseStdin() // a terminal has none
	time.AfterFunc(keepEnded, func() { c.sandbox.commands.forget(c) })
}

// drain waits until all output has come.
func (c *Command) drain() {
	pumped := make(chan struct{})
	c.sandbox.commands.goroutines.Go(func() {
		c.pumps.Wait()
		close(pumped)
	})
	end := time.Now()
	ticker := time.NewTicker(drainSilence / 5)
	defer ticker.Stop()
	for {
		select {
		case <-pumped:
			return
		case <-ticker.C:
		}
		c.mu.Lock()
		since := end
		if c.last.After(end) {
			since = c.last
		}
		silent := c.held == 0 && time.Since(since) > drainSilence
		over := c.held == 0 && time.Since(end) > drainMost
		c.mu.Unlock()
		if over || silent && c.isSilent(since) {
			return
		}
	}
}

// isSilent reports whether there has been no output since a moment, rather than that its bringing is slow: a question that was asked
// later than that for output has its answer, and there still is none.
func (c *Command) isSilent(since time.Time) bool {
	ctx, cancel := context.WithTimeout(c.sandbox.life, drainMost)
	defer cancel()
	_, _ = c.sandbox.instance.Files().Stat(ctx, "")
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held == 0 && !c.last.After(since)
}

// outcome is the error of a command that has ended. The caller holds the lock.
func (c *Command) outcome(err error) error {
	switch {
	case c.timedOut > 0:
		return fmt.Errorf("sandbox: %w", &CommandTimeoutError{Timeout: c.timedOut, Result: c.result})
	case err != nil || c.sandbox.life.Err() != nil:
		return fmt.Errorf("sandbox: command: %w", c.sandbox.reason(errors.Join(err, context.Cause(c.sandbox.life))))
	case c.result.ExitCode != 0:
		return fmt.Errorf("sandbox: %w", &CommandExitError{Result: c.result})
	}
	return nil
}

// expireGrace is how long a command may take to end after SIGTERM, before SIGKILL.
const expireGrace = 2 * time.Second

// expire ends a command whose time is over, with its process group.
func (c *Command) expire(timeout time.Duration) {
	c.mu.Lock()
	ended := c.hasEnded()
	if !ended {
		c.timedOut = timeout
	}
	c.mu.Unlock()
	if ended {
		return
	}
	c.strike(backends.Terminate)
	timer := time.NewTimer(expireGrace)
	defer timer.Stop()
	select {
	case <-c.exited:
	case <-timer.C:
	}
	c.strike(backends.Kill) // children that outlived it, too
}

// How long a command that was killed is waited for: what is frozen by a control group does not even die.
const (
	abortPatience  = 10 * time.Second
	pausedPatience = 250 * time.Millisecond
)

// abort kills a command, and gives it up when it does not end for that.
func (c *Command) abort(over context.Context, giveUp func()) {
	c.strike(backends.Kill)
	wait := abortPatience
	if c.sandbox.gate.isPaused() {
		wait = pausedPatience
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-c.exited: // what follows is bounded
	case <-over.Done():
	case <-timer.C:
		giveUp()
	}
}

// sofar is the result of a command that has not ended.
func (c *Command) sofar() *CommandResult {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &CommandResult{
		PID: c.pid, ExitCode: -1, Stdout: c.stdout.String(), Stderr: c.stderr.String(),
		Truncated: c.stdout.omitted + c.stderr.omitted, Wall: c.sandbox.clock.Now() - c.begun,
	}
}

// strike sends a signal without anybody waiting for it.
func (c *Command) strike(sig backends.Signal) {
	if err := c.process.Signal(context.Background(), sig); err != nil {
		c.sandbox.engine.config.Logger.Warn("end command", "sandbox", c.sandbox.id, "pid", c.pid, "error", err)
	}
}

func (c *Command) hasEnded() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// PID is the process id, as the code in the sandbox sees it.
func (c *Command) PID() int { return c.pid }

// Info describes the command.
func (c *Command) Info() CommandInfo {
	return CommandInfo{PID: c.pid, Tag: c.tag, Args: c.args, Terminal: c.terminal, StartedAt: c.started}
}

// Exited is closed when the program itself has ended. Its last output may be still to come, see Done.
func (c *Command) Exited() <-chan struct{} { return c.exited }

// Done is closed when the command has ended, its output has come and the callbacks have returned. Children that hold the
// output open delay that for as
// long as they write, and at most 5 s; what they write later is dropped.
func (c *Command) Done() <-chan struct{} { return c.done }

// Wait waits for Done and returns what Run does; ctx bounds this wait only, and then there is no result. It may be called
// often.
func (c *Command) Wait(ctx context.Context) (*CommandResult, error) {
	if !c.hasEnded() {
		select {
		case <-c.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return c.result, c.err
}

// Signal sends a signal ("SIGTERM" and so on) to the command and its process group; one that has ended is no error.
func (c *Command) Signal(ctx context.Context, signal string) error {
	if !strings.HasPrefix(signal, "SIG") {
		return fmt.Errorf("sandbox: signal %q: use a name like SIGTERM", signal)
	}
	if err := c.process.Signal(ctx, backends.Signal(signal)); err != nil {
		return fmt.Errorf("sandbox: signal command: %w", c.sandbox.reason(err))
	}
	return nil
}

// Kill kills the command with its process group and waits until it has exited; ctx bounds that wait. A callback may call it.
func (c *Command) Kill(ctx context.Context) error {
	if err := c.Signal(ctx, string(backends.Kill)); err != nil {
		return err
	}
	select {
	case <-c.exited:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("sandbox: kill command: %w", context.Cause(ctx))
	}
}

// Write writes to the standard input, or types on the terminal, where "\x03" is Ctrl-C and "\x04" the end of input. It waits
// until the program has room for it; ctx bounds that. Error: ErrNoStdin.
func (c *Command) Write(ctx context.Context, data []byte) error {
	if c.hasEnded() {
		return fmt.Errorf("sandbox: write to command: %w: it has ended", ErrNoStdin)
	}
	if _, err := c.process.Write(ctx, data); err != nil {
		return fmt.Errorf("sandbox: write to command: %w", c.sandbox.reason(err))
	}
	return nil
}

// CloseStdin ends the standard input. Error: ErrNoStdin.
func (c *Command) CloseStdin() error {
	if err := c.process.CloseStdin(); err != nil {
		return fmt.Errorf("sandbox: close stdin of command: %w", c.sandbox.reason(err))
	}
	return nil
}

// Resize changes the terminal's size. Error: ErrNoTerminal.
func (c *Command) Resize(ctx context.Context, size TerminalSize) error {
	if err := c.process.Resize(ctx, size); err != nil {
		return fmt.Errorf("sandbox: resize terminal: %w", c.sandbox.reason(err))
	}
	return nil
}
