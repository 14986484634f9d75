package sandbox

import (
	"context"
	"io"
	"sync"
)

// CommandMessage is a piece of a command's output.
type CommandMessage struct {
	Data    []byte // at most 32 KiB, as the program wrote it; a character may be cut in two
	Stderr  bool
	Dropped int64 // bytes left out before this piece, because the reader was too slow
}

// CommandOutput reads a command's output from when it was attached. One goroutine reads it; the caller closes it.
type CommandOutput struct {
	command *Command
	waits   bool          // full, it holds up the command rather than leave out
	more    chan struct{} // of one element: there may be something to read, or the end
	room    chan struct{} // of one element: there may be room
	closed  chan struct{} // closed by Close, once

	mu      sync.Mutex // guards what follows
	queue   []CommandMessage
	size    int
	dropped int64
	ended   bool
	once    sync.Once
}

// outputBudget bounds what waits for one reader, bytes.
const outputBudget = 1 << 20

// Output attaches a reader. It gets what comes from now on, and before it, with backlog, what is kept of the output so
// far, standard output first. One that falls behind by more than 1 MiB misses the pieces that come
// meanwhile, and is told how much; it holds up neither the command nor other readers. After the command's end there is
// the backlog alone.
func (c *Command) Output(backlog bool) *CommandOutput {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.attach(false)
	if backlog {
		for _, m := range []CommandMessage{{Data: []byte(c.stdout.String())}, {Data: []byte(c.stderr.String()), Stderr: true}} {
			if len(m.Data) > 0 {
				r.queue = append(r.queue, m)
			}
		}
	}
	return r
}

// Follow attaches a reader from now on that misses nothing: when it falls behind by more than 1 MiB, the command waits for it, and with
// the command all its other readers.
func (c *Command) Follow() *CommandOutput {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.attach(true)
}

// attach adds a reader. The caller holds the lock, or is alone.
func (c *Command) attach(waits bool) *CommandOutput {
	r := &CommandOutput{
		command: c, waits: waits, more: make(chan struct{}, 1), room: make(chan struct{}, 1), closed: make(chan struct{}),
	}
	if c.readers == nil {
		r.ended = true
	} else {
		c.readers[r] = true
	}
	return r
}

// forward gives output to the starter's callbacks until the end, or that of ctx.
func (c *Command) forward(ctx context.Context, o CommandOptions) {
	defer close(c.told)
	if c.caller == nil {
		return
	}
	defer func() { _ = c.caller.Close() }() // for a callback that panics: the command must not wait for it
	for {
		m, err := c.caller.Next(ctx)
		if err != nil {
			return
		}
		if m.Stderr && o.OnStderr != nil {
			o.OnStderr(m.Data)
		}
		if !m.Stderr && o.OnStdout != nil {
			o.OnStdout(m.Data)
		}
	}
}

// push queues a piece.
func (r *CommandOutput) push(m CommandMessage) {
	for {
		r.mu.Lock()
		if r.size == 0 || r.size+len(m.Data) <= outputBudget {
			m.Dropped, r.dropped = r.dropped, 0
			r.queue = append(r.queue, m)
			r.size += len(m.Data)
			r.mu.Unlock()
			notify(r.more)
			return
		}
		if !r.waits {
			r.dropped += int64(len(m.Data))
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		select {
		case <-r.room:
		case <-r.closed:
			return
		case <-r.command.sandbox.life.Done():
			return
		}
	}
}

// end says that nothing more comes.
func (r *CommandOutput) end() {
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	notify(r.more)
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Next returns the next piece; io.EOF after the last, and after Close. ctx bounds this wait only.
func (r *CommandOutput) Next(ctx context.Context) (CommandMessage, error) {
	for {
		m, ok, ended := r.pop()
		switch {
		case ok:
			notify(r.room)
			return m, nil
		case ended:
			return CommandMessage{}, io.EOF
		}
		select {
		case <-r.more:
		case <-r.closed:
			return CommandMessage{}, io.EOF
		case <-ctx.Done():
			return CommandMessage{}, context.Cause(ctx)
		}
	}
}

func (r *CommandOutput) pop() (m CommandMessage, ok, ended bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) > 0 {
		m = r.queue[0]
		r.queue = r.queue[1:]
		r.size = max(0, r.size-len(m.Data))
		return m, true, false
	}
	if r.ended && r.dropped > 0 { // what was left out at the very end
		m.Dropped, r.dropped = r.dropped, 0
		return m, true, false
	}
	return m, false, r.ended
}

// Close detaches the reader. It is idempotent and does not wait.
func (r *CommandOutput) Close() error {
	r.once.Do(func() { close(r.closed) })
	r.command.mu.Lock()
	defer r.command.mu.Unlock()
	delete(r.command.readers, r)
	return nil
}
