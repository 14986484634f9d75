package kerneltest

import (
	"context"
	"fmt"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// receive takes frames from a client and queues the request. A message that can't be read, or is signed wrongly, is
// dropped without an answer, as kernels do.
func (k *Kernel) receive(ctx context.Context, ch messaging.Channel, frames [][]byte, from peer) error {
	m, err := k.signer.Decode(ch, frames)
	if err != nil {
		k.opts.OnError(fmt.Errorf("kerneltest: %s: %w", ch, err))
		return nil
	}
	k.mu.Lock()
	k.journal.add(m)
	k.mu.Unlock()
	queue := k.shell
	switch ch {
	case messaging.Stdin:
		k.answerInput(m)
		return nil
	case messaging.Control:
		queue = k.control
	}
	select {
	case queue <- request{message: m, from: from}:
		return nil
	case <-k.Done():
		return ErrEnded
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// loop answers the requests of one channel, one after the other.
func (k *Kernel) loop(requests <-chan request, quit <-chan struct{}) {
	for {
		select {
		case <-k.Done():
			return
		default:
		}
		select {
		case <-k.Done():
			return
		case <-quit:
			k.Die()
			return
		case r := <-requests:
			k.answer(r)
		}
	}
}

// answer runs the script of a request.
func (k *Kernel) answer(r request) {
	c := &Call{
		Request: r.message, kernel: k, from: r.from, parent: &r.message.Header, session: k.session.ID,
		sent: new(sent), interrupts: make(chan struct{}, 16),
	}
	content, err := r.message.Decode()
	if err != nil {
		k.opts.OnError(fmt.Errorf("kerneltest: %w", err))
		return
	}
	if c.Execute, _ = content.(*messaging.ExecuteRequest); c.Execute != nil {
		k.execute(c)
		return
	}
	if r.message.Channel == messaging.Shell {
		k.takeAbort()
	}
	s, scripted := k.find(k.kinds, r.message.Header.MsgType)
	if !scripted {
		s.run = func(c *Call) { k.standard(c, content) }
	}
	if !s.raw {
		c.Busy()
	}
	s.run(c)
	if !s.raw && !c.hasIdle() {
		c.Idle()
	}
	if _, ok := content.(*messaging.ShutdownRequest); ok && !scripted {
		k.shutdown()
	}
}

// execute runs the script of an execution.
func (k *Kernel) execute(c *Call) {
	if k.takeAbort() {
		c.Busy()
		c.Abort()
		c.Idle()
		return
	}
	k.begin(c)
	defer k.finish()
	s, ok := k.find(k.codes, c.Execute.Code)
	if !ok {
		if s, ok = k.find(k.kinds, "execute_request"); !ok {
			s.run = echo
		}
	}
	if s.raw {
		s.run(c)
		return
	}
	c.Busy()
	if !c.Execute.Silent {
		c.ExecuteInput()
	}
	if s.run != nil {
		s.run(c)
	}
	if !c.hasReply() {
		c.Reply(nil)
	}
	if !c.hasIdle() {
		c.Idle()
	}
}

// echo is how code without a script runs.
func echo(c *Call) {
	if n, size, ok := parseFlood(c.Execute.Code); ok {
		flood(c, n, size)
		return
	}
	if c.Execute.Code != "" {
		c.Stream(messaging.Stdout, c.Execute.Code)
	}
}

// begin counts an execution as ipykernel does and lets interrupts reach it.
func (k *Kernel) begin(c *Call) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c.Count = k.counter
	if c.Execute.StoreHistory && !c.Execute.Silent && c.Execute.Code != "" {
		k.history = append(k.history, messaging.HistoryEntry{Session: 1, Line: k.counter, Input: c.Execute.Code})
		k.counter++
	}
	if k.dead {
		close(c.interrupts)
		return
	}
	k.running = c
}

func (k *Kernel) finish() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.running = nil
}

func (k *Kernel) find(where map[string]script, name string) (script, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, ok := where[name]
	return s, ok
}

// defaultReply says what happened to an execution.
func (k *Kernel) defaultReply(c *Call, failure *messaging.ErrorOutput) *messaging.ExecuteReply {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := &messaging.ExecuteReply{Status: messaging.StatusOK, ExecutionCount: k.counter - 1}
	if failure != nil {
		r.Status = messaging.StatusError
		r.ReplyError = messaging.ReplyError{EName: failure.EName, EValue: failure.EValue, Traceback: failure.Traceback}
		return r
	}
	if c.Execute != nil && len(c.Execute.UserExpressions) > 0 {
		r.UserExpressions = make(map[string]messaging.UserExpression)
		for name, expression := range c.Execute.UserExpressions {
			r.UserExpressions[name] = messaging.UserExpression{Status: messaging.StatusOK, Data: Text(expression)}
		}
	}
	return r
}

// abortQueued marks the executions that are queued behind a failed one.
func (k *Kernel) abortQueued(c *Call) {
	if c.Execute == nil || !c.Execute.StopOnError || c.Execute.Silent {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.aborting = len(k.shell)
}

// takeAbort counts a shell message down and tells whether an error came between its arrival and its turn.
func (k *Kernel) takeAbort() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.aborting == 0 {
		return false
	}
	k.aborting--
	return true
}

// ask makes room for an answer. One that came earlier is lost, as it is with ipykernel.
func (k *Kernel) ask() chan string {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asking = make(chan string, 1)
	return k.asking
}

func (k *Kernel) askNoMore(answer chan string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.asking == answer {
		k.asking = nil
	}
}

func (k *Kernel) answerInput(m *messaging.Message) {
	content, err := m.Decode()
	reply, ok := content.(*messaging.InputReply)
	if err != nil || !ok {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.asking == nil {
		return
	}
	select {
	case k.asking <- reply.Value:
	default:
	}
}

// shutdown ends the kernel when its execution, if any, has ended: a busy ipykernel answers at once and goes on.
func (k *Kernel) shutdown() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.quitting {
		k.quitting = true
		close(k.quit)
	}
}

func (c *Call) hasReply() bool {
	c.sent.mu.Lock()
	defer c.sent.mu.Unlock()
	return c.sent.reply
}

func (c *Call) hasIdle() bool {
	c.sent.mu.Lock()
	defer c.sent.mu.Unlock()
	return c.sent.idle
}
