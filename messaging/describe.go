package messaging

import (
	"fmt"
	"strings"
)

// describeLimit bounds the content in a description, bytes.
const describeLimit = 200

// Describe is a message in one line, for a trace: direction, channel, type, ids, the beginning of its content.
func Describe(direction string, m *Message) string {
	content := m.Content
	cut := ""
	if len(content) > describeLimit {
		cut = fmt.Sprintf("... (%d bytes)", len(content))
		content = content[:describeLimit]
	}
	text := strings.ToValidUTF8(string(content), "\uFFFD")
	text = strings.NewReplacer("\n", " ", "\r", " ", "\x1b", "\\x1b").Replace(text)
	buffers := ""
	if len(m.Buffers) > 0 {
		buffers = fmt.Sprintf(" +%d buffers", len(m.Buffers))
	}
	return fmt.Sprintf("%s %-7s %-20s id=%s parent=%s %s%s%s",
		direction, m.Channel, m.Header.MsgType, shortID(m.Header.MsgID), shortID(m.ParentID()), text, cut, buffers)
}

// shortID is the end of an id, where ids of one session differ.
func shortID(id string) string {
	if id == "" {
		return "-"
	}
	if len(id) > 12 {
		return id[len(id)-12:]
	}
	return id
}
