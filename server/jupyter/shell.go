package jupyter

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// Requests of one client on the shell channel reach the kernel in the order of their sending, as they would without us. Those that run
// code wait for their turn with the runs of all others; so those of a client wait here, and not in the kernel, and what a kernel does with
// a failed run is done here: the runs that the client sent before it was told of the end are aborted. A kernel also aborts what comes a
// moment later, from a client that was quick; here it runs.

// Bounds of what a client may have waiting.
const (
	maxWaiting      = 10_000
	maxWaitingBytes = 256 << 20
)

// forwardPatience bounds how long a message may take to be written to the kernel.
const forwardPatience = 30 * time.Second

// shell is a client's queue; the client's mu guards it.
type shell struct {
	waiting []*messaging.Message
	bytes   int
	working bool       // a goroutine is at the queue
	run     *following // the latest
}

// following is a run of the client's.
type following struct {
	request *messaging.Message
	started chan struct{} // closed when run is known, or will never be
	run     *sandbox.Run  // nil when it did not start
	over    chan struct{} // closed when its end has been told
	told    bool          // the client has been sent its reply or its idle; its mu guards both
	later   int           // messages that it has sent since
}

// errFlooded says that a client sends more than is taken.
var errFlooded = errors.New("too many requests wait")

// take does what a message from the client asks for. An error ends the websocket.
func (c *client) take(m *messaging.Message) error {
	c.mu.Lock()
	if m.Header.Session != "" {
		c.clientSession = m.Header.Session
	}
	c.mu.Unlock()
	kind := m.Header.MsgType
	switch {
	case m.Channel == messaging.IOPub: // clients publish nothing
		return nil
	case m.Channel == messaging.Stdin:
		if kind == "input_reply" {
			c.answer(m)
		}
		return nil
	case kind == "shutdown_request":
		c.shutdown(m)
		return nil
	case m.Channel == messaging.Control && kind == "execute_request": // ipykernel would run it, beside all others
		c.asked.add(m.Header.MsgID)
		c.fail(m, kernel.ErrNotExecute)
		return nil
	case m.Channel == messaging.Control:
		c.asked.add(m.Header.MsgID)
		c.forward(m)
		return nil
	case m.Header.SubshellID != "": // another shell, which does not wait for the main one
		c.asked.add(m.Header.MsgID)
		c.forward(m)
		return nil
	}
	return c.queue(m)
}

// queue lets a message wait behind those that the client sent before.
func (c *client) queue(m *messaging.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.shell
	if len(s.waiting) >= maxWaiting || s.bytes+weight(m) > maxWaitingBytes {
		return errFlooded
	}
	c.asked.add(m.Header.MsgID)
	s.waiting = append(s.waiting, m)
	s.bytes += weight(m)
	if s.run != nil && s.run.told {
		s.run.later++
	}
	if !s.working {
		s.working = c.hub.spawn(c.work)
	}
	return nil
}

// weight is about what a waiting message costs, bytes.
func weight(m *messaging.Message) int {
	n := 1024 + len(m.Content) + len(m.Metadata)
	for _, b := range m.Buffers {
		n += len(b)
	}
	return n
}

// work sends what waits until nothing does.
func (c *client) work() {
	for {
		c.mu.Lock()
		s := &c.shell
		if len(s.waiting) == 0 || c.hub.life.Err() != nil {
			s.waiting, s.bytes, s.working = nil, 0, false
			c.mu.Unlock()
			return
		}
		m, before := s.waiting[0], s.run
		executes := m.Header.MsgType == "execute_request"
		if executes && before != nil && !before.isOver() {
			c.mu.Unlock()
			<-before.over
			continue // m may be aborted by now
		}
		s.waiting[0] = nil
		s.waiting = s.waiting[1:]
		s.bytes -= weight(m)
		c.mu.Unlock()
		if executes {
			c.execute(m)
		} else {
			c.forward(m)
		}
	}
}

func (f *following) isOver() bool {
	select {
	case <-f.over:
		return true
	default:
		return false
	}
}

// forward sends a message to the kernel at once.
func (c *client) forward(m *messaging.Message) {
	ctx, cancel := context.WithTimeout(c.hub.life, forwardPatience)
	defer cancel()
	err := c.hub.kernel.member.Awake(ctx)
	if err == nil {
		err = c.hub.kernel.context.Forward(ctx, m)
	}
	if err != nil {
		c.fail(m, err)
	}
}

// execute starts a run when its turn has come, and returns when the kernel has it.
func (c *client) execute(m *messaging.Message) {
	f := &following{request: m, started: make(chan struct{}), over: make(chan struct{})}
	c.mu.Lock()
	c.shell.run = f // before it starts: what it asks for comes at once
	c.mu.Unlock()
	err := c.hub.kernel.member.Awake(c.hub.life)
	if err == nil {
		f.run, err = c.hub.kernel.context.StartMessage(c.hub.life, m)
	}
	close(f.started)
	if err != nil {
		c.fail(m, err)
		close(f.over)
		return
	}
	if !c.hub.spawn(func() { c.follow(f) }) {
		_ = f.run.Close()
		close(f.over)
	}
}

// follow waits for the end of a run.
func (c *client) follow(f *following) {
	defer close(f.over)
	begun := time.Now()
	execution, err := f.run.Wait(context.Background()) // it ends with the hub's life
	c.hub.kernel.member.NoteRun(fleet.Run{
		Language: c.hub.kernel.context.Language(), Took: time.Since(begun), Raised: execution.Error, Err: err,
	})
	if err != nil && c.asked.has(f.request.Header.MsgID) {
		c.fail(f.request, err)
	}
	if err != nil || execution.Error != nil {
		c.abortBehind(f)
	}
}

// noteEnd is called with what the client is about to be sent: the end of its run, perhaps.
func (c *client) noteEnd(m *messaging.Message) {
	if kind := m.Header.MsgType; kind != "execute_reply" && kind != "status" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.shell.run
	if f == nil || f.told || f.request.Header.MsgID != m.ParentID() {
		return
	}
	if content, err := m.Decode(); err == nil {
		if status, ok := content.(*messaging.Status); ok && status.ExecutionState != messaging.StateIdle {
			return
		}
	}
	f.told = true
}

// abortBehind drops the runs that wait behind one that failed, if it was to stop at errors.
func (c *client) abortBehind(failed *following) {
	how := struct {
		Silent bool  `json:"silent"`
		Stop   *bool `json:"stop_on_error"`
	}{}
	if json.Unmarshal(failed.request.Content, &how) != nil || how.Silent || how.Stop != nil && !*how.Stop {
		return
	}
	var aborted, kept []*messaging.Message
	c.mu.Lock()
	behind := len(c.shell.waiting) - failed.later
	for i, m := range c.shell.waiting {
		if i < behind && m.Header.MsgType == "execute_request" {
			aborted = append(aborted, m)
			c.shell.bytes -= weight(m)
		} else {
			kept = append(kept, m)
		}
	}
	c.shell.waiting = kept
	c.mu.Unlock()
	for _, m := range aborted {
		c.abort(m)
	}
}

// asks notes that the client's run has asked for input.
func (c *client) asks(request *messaging.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asking = request.ParentID()
}

// answer gives the client's run the line it has asked for, once.
func (c *client) answer(m *messaging.Message) {
	c.mu.Lock()
	f := c.shell.run
	asked := f != nil && !f.isOver() && c.asking == f.request.Header.MsgID
	c.asking = ""
	c.mu.Unlock()
	if !asked {
		return
	}
	if <-f.started; f.run == nil {
		return
	}
	ctx, cancel := context.WithTimeout(c.hub.life, forwardPatience)
	defer cancel()
	if err := f.run.Answer(ctx, m); err != nil { // the run ends, which is told
		c.hub.handler.opts.Logger.Debug("answer input", "kernel", c.hub.kernel.id(), "error", err)
	}
}

// awaitRun waits until the end of the client's latest run has been told.
func (c *client) awaitRun() {
	c.mu.Lock()
	f := c.shell.run
	c.mu.Unlock()
	if f != nil {
		<-f.over
	}
}

// shutdown does what a client asks the kernel for that is the server's to do: the kernel would end, and nobody would know why.
func (c *client) shutdown(m *messaging.Message) {
	var how messaging.ShutdownRequest
	if content, err := m.Decode(); err == nil {
		if request, ok := content.(*messaging.ShutdownRequest); ok {
			how = *request
		}
	}
	c.asked.add(m.Header.MsgID)
	h, k := c.hub.handler, c.hub.kernel
	c.hub.spawn(func() {
		var err error
		ctx, cancel := context.WithTimeout(h.life, startPatient)
		defer cancel()
		if how.Restart {
			err = h.renew(ctx, k)
		}
		if err != nil {
			c.fail(m, err)
			return
		}
		c.reply(m, struct {
			Status  messaging.ReplyStatus `json:"status"`
			Restart bool                  `json:"restart"`
		}{messaging.StatusOK, how.Restart})
		if how.Restart {
			return
		}
		if err := h.discard(ctx, k); err != nil {
			h.opts.Logger.Warn("end kernel", "sandbox", k.member.ID(), "kernel", k.id(), "error", err)
		}
	})
}
