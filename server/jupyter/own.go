package jupyter

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// Messages of the server's own, for a client whose kernel can't say what it has to hear.

// own makes a message that is caused by parent; nil is none. It speaks for the kernel of now, because JupyterLab drops what comes from
// another session than it last heard; what has no parent speaks for the client, as jupyter_server's does.
func (c *client) own(ch messaging.Channel, parent *messaging.Message, body messaging.Content) *messaging.Message {
	content, err := json.Marshal(body)
	if err != nil { // our own contents always marshal
		content = json.RawMessage("{}")
	}
	m := &messaging.Message{Channel: ch, Content: content, Header: messaging.Header{
		MsgID: uuid.NewString(), Username: "ds-sandbox", Date: date(time.Now()), MsgType: body.MsgType(), Version: messaging.ProtocolVersion,
	}}
	c.mu.Lock()
	defer c.mu.Unlock()
	m.Header.Session = c.clientSession
	if parent != nil {
		header := parent.Header
		m.Parent = &header
		if c.kernelSession != "" {
			m.Header.Session = c.kernelSession
		}
	}
	return m
}

// fail answers a request that the kernel does not answer.
func (c *client) fail(m *messaging.Message, err error) {
	kind, isRequest := strings.CutSuffix(m.Header.MsgType, "_request")
	if !isRequest {
		return
	}
	name := "SandboxError"
	if errors.Is(err, kernel.ErrDead) {
		name = "KernelDied"
	}
	text := failure(err)
	trouble := messaging.ReplyError{EName: name, EValue: text, Traceback: []string{name + ": " + text}}
	c.view.Put(c.own(messaging.IOPub, m, &messaging.Status{ExecutionState: messaging.StateBusy}))
	if kind == "execute" {
		c.view.Put(c.own(messaging.IOPub, m, &messaging.ErrorOutput{EName: name, EValue: text, Traceback: trouble.Traceback}))
	}
	c.reply(m, &struct {
		Status messaging.ReplyStatus `json:"status"`
		messaging.ReplyError
	}{messaging.StatusError, trouble})
}

// abort answers a request that stood behind one that failed, as kernels do.
func (c *client) abort(m *messaging.Message) {
	c.view.Put(c.own(messaging.IOPub, m, &messaging.Status{ExecutionState: messaging.StateBusy}))
	c.reply(m, &struct {
		Status messaging.ReplyStatus `json:"status"`
	}{messaging.StatusAborted})
}

// reply answers a request, and says that all is done for it.
func (c *client) reply(m *messaging.Message, body any) {
	content, err := json.Marshal(body)
	if err != nil {
		content = json.RawMessage("{}")
	}
	kind := strings.TrimSuffix(m.Header.MsgType, "_request") + "_reply"
	c.view.Put(c.own(m.Channel, m, &messaging.UnknownContent{Type: kind, Raw: content}))
	c.view.Put(c.own(messaging.IOPub, m, &messaging.Status{ExecutionState: messaging.StateIdle}))
}

// notice is a line of text where something was left out.
func (c *client) notice(about *messaging.Message, format string, args ...any) *messaging.Message {
	m := c.own(messaging.IOPub, nil, &messaging.Stream{Name: messaging.Stderr, Text: fmt.Sprintf("[ds-sandbox] "+format+"\n", args...)})
	m.Parent = about.Parent
	if about.Header.Session != "" {
		m.Header.Session = about.Header.Session
	}
	return m
}
