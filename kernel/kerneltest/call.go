package kerneltest

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// Call is a request that a script answers. What its methods send has the request as its parent. They may be called by
// several goroutines, also after the script has returned. After the kernel's end they do nothing.
type Call struct {
	Request *messaging.Message        // nil in Unasked
	Execute *messaging.ExecuteRequest // nil unless this is an execution
	Count   int                       // execution count that the run shows

	kernel     *Kernel
	from       peer
	parent     *messaging.Header
	session    string
	sent       *sent
	interrupts chan struct{}
}

// sent notes what a script did by itself.
type sent struct {
	mu    sync.Mutex
	reply bool
	idle  bool
	err   *messaging.ErrorOutput // the last one
}

// Under returns a Call like c whose messages have another parent: that of another run, or nil for none.
func (c *Call) Under(parent *messaging.Header) *Call {
	other := *c
	other.parent, other.sent = parent, new(sent)
	return &other
}

// Foreign is Under for the run of a client that does not exist.
func (c *Call) Foreign() *Call {
	session := messaging.NewSession("somebody")
	m, err := session.New(messaging.Shell, &messaging.ExecuteRequest{})
	if err != nil {
		panic(err) // a plain struct
	}
	return c.Under(&m.Header)
}

// As returns a Call like c whose messages come from another session than the kernel's.
func (c *Call) As(session string) *Call {
	other := *c
	other.session, other.sent = session, new(sent)
	return &other
}

// Status publishes a state.
func (c *Call) Status(state messaging.ExecutionState) {
	c.Publish(&messaging.Status{ExecutionState: state})
}

// Busy publishes busy.
func (c *Call) Busy() { c.Status(messaging.StateBusy) }

// Idle publishes idle.
func (c *Call) Idle() {
	c.sent.mu.Lock()
	c.sent.idle = true
	c.sent.mu.Unlock()
	c.Status(messaging.StateIdle)
}

// ExecuteInput publishes the code that is about to run.
func (c *Call) ExecuteInput() {
	if c.Execute != nil {
		c.Publish(&messaging.ExecuteInput{Code: c.Execute.Code, ExecutionCount: c.Count})
	}
}

// Stream publishes text on messaging.Stdout or messaging.Stderr.
func (c *Call) Stream(name, text string) { c.Publish(&messaging.Stream{Name: name, Text: text}) }

// Display publishes a rich output; id is its display id, empty for none.
func (c *Call) Display(data messaging.MIMEBundle, id string) {
	c.Publish(&messaging.DisplayData{Data: data, Metadata: messaging.MIMEBundle{}, Transient: messaging.Transient{DisplayID: id}})
}

// Update publishes another state of the outputs with a display id.
func (c *Call) Update(data messaging.MIMEBundle, id string) {
	c.Publish(&messaging.UpdateDisplayData{Data: data, Metadata: messaging.MIMEBundle{}, Transient: messaging.Transient{DisplayID: id}})
}

// Result publishes the value of the last expression.
func (c *Call) Result(data messaging.MIMEBundle) {
	c.Publish(&messaging.ExecuteResult{Data: data, Metadata: messaging.MIMEBundle{}, ExecutionCount: c.Count})
}

// Clear publishes clear_output.
func (c *Call) Clear(wait bool) { c.Publish(&messaging.ClearOutput{Wait: wait}) }

// Error publishes an exception; a Reply of nil, also the one sent after a script, reports the same.
func (c *Call) Error(name, value string, traceback ...string) {
	if traceback == nil {
		traceback = []string{}
	}
	e := &messaging.ErrorOutput{EName: name, EValue: value, Traceback: traceback}
	c.sent.mu.Lock()
	c.sent.err = e
	c.sent.mu.Unlock()
	c.Publish(e)
}

// KeyboardInterrupt is the Error of code that was interrupted.
func (c *Call) KeyboardInterrupt() {
	c.Error("KeyboardInterrupt", "", "KeyboardInterrupt: ")
}

// Reply answers an execution. Nil stands for what happened: ok, or the last Error. An error makes the kernel abort
// what is queued, if the request has stop_on_error.
func (c *Call) Reply(r *messaging.ExecuteReply) {
	c.sent.mu.Lock()
	failure := c.sent.err
	c.sent.mu.Unlock()
	if r == nil {
		r = c.kernel.defaultReply(c, failure)
	}
	if r.Status == messaging.StatusError {
		c.kernel.abortQueued(c)
	}
	c.Answer(r)
}

// Abort is the reply to an execution that was taken from the queue because an earlier one failed.
func (c *Call) Abort() {
	// ipykernel's aborted reply has a status and nothing else.
	c.Answer(&messaging.UnknownContent{Type: "execute_reply", Raw: []byte(`{"status":"aborted"}`)})
}

// Answer sends a reply on the request's channel.
func (c *Call) Answer(body messaging.Content) {
	c.sent.mu.Lock()
	c.sent.reply = true
	c.sent.mu.Unlock()
	if c.Request != nil {
		c.Send(c.Message(c.Request.Channel, body))
	}
}

// Input asks the client for a line and waits for it. Errors: ErrNoStdin, ErrInterrupted, ErrEnded, io.EOF for
// messaging.EndOfInput.
func (c *Call) Input(prompt string, password bool) (string, error) {
	if c.Execute == nil || !c.Execute.AllowStdin {
		return "", ErrNoStdin
	}
	answer := c.kernel.ask()
	defer c.kernel.askNoMore(answer)
	c.Send(c.Message(messaging.Stdin, &messaging.InputRequest{Prompt: prompt, Password: password}))
	select {
	case value := <-answer:
		if value == messaging.EndOfInput {
			return "", io.EOF
		}
		return value, nil
	case _, open := <-c.interrupts:
		if open {
			return "", ErrInterrupted
		}
	case <-c.Done():
	}
	return "", ErrEnded
}

// Sleep waits for a time. It ends early with ErrInterrupted or ErrEnded.
func (c *Call) Sleep(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case _, open := <-c.interrupts:
		if open {
			return ErrInterrupted
		}
	case <-c.Done():
	}
	return ErrEnded
}

// Interrupted gives a value for each interrupt of this execution; it is closed when the kernel ends.
func (c *Call) Interrupted() <-chan struct{} { return c.interrupts }

// Done is closed when the kernel has ended.
func (c *Call) Done() <-chan struct{} { return c.kernel.Done() }

// Die ends the kernel, see Kernel.Die. The script goes on and should return.
func (c *Call) Die() { c.kernel.Die() }

// Go runs f beside the kernel's own work, as code's threads do. Kernel.Close waits for it.
func (c *Call) Go(f func()) { c.kernel.spawn(f) }

// Publish sends a message on iopub.
func (c *Call) Publish(body messaging.Content) { c.Send(c.Message(messaging.IOPub, body)) }

// Message makes a message for Send, which the script may still change: its content into what is no JSON, its header, its
// buffers. A body that can't be encoded is a mistake of the script and panics.
func (c *Call) Message(ch messaging.Channel, body messaging.Content) *messaging.Message {
	m, err := c.kernel.session.New(ch, body)
	if err != nil {
		panic(fmt.Sprintf("kerneltest: %v", err))
	}
	m.Header.Session = c.session
	m.Parent = c.parent
	if ch == messaging.IOPub {
		m.Identities = [][]byte{[]byte(topic(c.session, body))}
	}
	return m
}

// Send signs and sends a message.
func (c *Call) Send(m *messaging.Message) { c.Frames(m.Channel, c.Encode(m)) }

// Encode returns the signed frames of a message.
func (c *Call) Encode(m *messaging.Message) [][]byte {
	frames, err := c.kernel.signer.Encode(m)
	if err != nil {
		panic(fmt.Sprintf("kerneltest: %v", err))
	}
	return frames
}

// Frames sends frames as they are: forged, sent before, or no message at all.
func (c *Call) Frames(ch messaging.Channel, frames [][]byte) {
	c.kernel.put(item{channel: ch, frames: frames}, c.from, outboxLimit)
}

// Bytes puts bytes on a channel's socket after what was sent there before; half a message, for instance. On iopub
// they go to all clients. A pipe has no bytes and ignores them.
func (c *Call) Bytes(ch messaging.Channel, b []byte) {
	c.kernel.put(item{channel: ch, bytes: b}, c.from, outboxLimit)
}

// topic is the first frame of an iopub message, as ipykernel has it.
func topic(session string, body messaging.Content) string {
	switch b := body.(type) {
	case *messaging.Stream:
		return "stream." + b.Name
	case *messaging.DisplayData, *messaging.UpdateDisplayData, *messaging.ClearOutput:
		return body.MsgType()
	case *messaging.CommMsg:
		return "comm-" + b.CommID
	case *messaging.CommOpen:
		return "comm-" + b.CommID
	case *messaging.CommClose:
		return "comm-" + b.CommID
	}
	return "kernel." + session + "." + body.MsgType()
}

// Text is a bundle of text/plain.
func Text(text string) messaging.MIMEBundle {
	b := messaging.MIMEBundle{}
	b.SetText("text/plain", text)
	return b
}
