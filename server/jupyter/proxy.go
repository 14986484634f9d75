package jupyter

import (
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// A jupyter_server that was started with --gateway-url passes on our frames, with two faults. It decodes binary frames as text, which
// ends the connection's reading for good at the first one that is none, so a message with buffers never arrives. And its websocket takes
// no more than 10 MiB, and breaks at more. So its connections get neither.

// isProxy reports whether such a server is at the other end: it speaks the legacy framing and calls itself Tornado.
func isProxy(r *http.Request, framing messaging.Framing) bool {
	return framing == messaging.FramingLegacy && strings.HasPrefix(r.UserAgent(), "Tornado/")
}

// maxProxied is the largest content that a proxy gets, bytes; what else there is in a message is small.
const maxProxied = 8 << 20

// fit makes of a message what the other end can take.
func (s *socket) fit(c *client, m *messaging.Message) []*messaging.Message {
	if !s.proxy {
		return []*messaging.Message{m}
	}
	if len(m.Buffers) > 0 {
		s.handler.opts.Logger.Warn("leave out the buffers of a message, which jupyter_server's gateway client can't pass on",
			"kernel", c.hub.kernel.id(), "type", m.Header.MsgType)
		bare := *m
		bare.Buffers = nil
		m = &bare
	}
	if len(m.Content)+len(m.Metadata) <= maxProxied {
		return []*messaging.Message{m}
	}
	if parts := splitStream(c, m); parts != nil {
		return parts
	}
	if m.Channel != messaging.IOPub {
		return []*messaging.Message{m} // a reply that is left out would be waited for
	}
	const why = "an output of %d bytes was left out: jupyter_server's gateway client takes 10 MiB at most"
	return []*messaging.Message{c.notice(m, why, len(m.Content))}
}

// splitStream cuts a text into several; nil when m is none.
func splitStream(c *client, m *messaging.Message) []*messaging.Message {
	content, err := m.Decode()
	stream, ok := content.(*messaging.Stream)
	if err != nil || !ok {
		return nil
	}
	const most = maxProxied / 6 // JSON writes a character in six bytes at most
	var parts []*messaging.Message
	for text := stream.Text; text != ""; {
		n := min(len(text), most)
		for n < len(text) && n > most-utf8.UTFMax && !utf8.RuneStart(text[n]) {
			n--
		}
		part := c.own(messaging.IOPub, nil, &messaging.Stream{Name: stream.Name, Text: text[:n]})
		part.Parent, part.Header.Session = m.Parent, m.Header.Session
		parts = append(parts, part)
		text = text[n:]
	}
	return parts
}
