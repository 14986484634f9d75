package kerneltest

import (
	"context"
	"fmt"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// journalSize bounds the messages that are remembered.
const journalSize = 4096

// journal remembers what clients sent, newest last.
type journal struct {
	messages []*messaging.Message
	counts   map[string]int // of all, by message type
	changed  chan struct{}  // closed by the next message; nil while nobody waits
}

func (j *journal) add(m *messaging.Message) {
	if j.counts == nil {
		j.counts = make(map[string]int)
	}
	j.counts[m.Header.MsgType]++
	if len(j.messages) == journalSize {
		j.messages = append(j.messages[:0:0], j.messages[journalSize/2:]...)
	}
	j.messages = append(j.messages, m)
	if j.changed != nil {
		close(j.changed)
		j.changed = nil
	}
}

// Received returns the messages of a type that clients sent, oldest first; with an empty type, all. Only the last few
// thousand are remembered.
func (k *Kernel) Received(msgType string) []*messaging.Message {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []*messaging.Message
	for _, m := range k.journal.messages {
		if msgType == "" || m.Header.MsgType == msgType {
			out = append(out, m)
		}
	}
	return out
}

// Await waits until clients have sent at least n messages of a type. It ends early with the cause of ctx or with ErrEnded.
func (k *Kernel) Await(ctx context.Context, msgType string, n int) error {
	for {
		k.mu.Lock()
		count := k.journal.counts[msgType]
		if k.journal.changed == nil {
			k.journal.changed = make(chan struct{})
		}
		changed := k.journal.changed
		k.mu.Unlock()
		if count >= n {
			return nil
		}
		select {
		case <-changed:
		case <-k.Done():
			return fmt.Errorf("await %d of %s, have %d: %w", n, msgType, count, ErrEnded)
		case <-ctx.Done():
			return fmt.Errorf("await %d of %s, have %d: %w", n, msgType, count, context.Cause(ctx))
		}
	}
}
