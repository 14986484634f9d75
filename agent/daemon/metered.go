package daemon

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// metered is the run of a kernel that is measured: from before its request is passed on until its idle status. A round trip before
// and after each run would cost more than the run's own.
type metered struct {
	number uint64
	run    string // id of the request
	meter  backends.Meter
	usage  *agentpb.Usage // once it is over; written with both locks held
	told   bool           // by a relay
}

// measure begins to measure a run; the same again is no other.
func (k *kernel) measure(ctx context.Context, m *agentpb.MeterRun) {
	k.measuring.Lock()
	defer k.measuring.Unlock()
	before := k.lastMetered()
	if before != nil && before.number == m.Number || m.Number == 0 || m.Run == "" || len(m.Run) > 256 {
		return
	}
	if before != nil && before.usage == nil {
		_, _ = before.meter.Stop(ctx) // its host has forgotten it
	}
	meter, err := k.Meter(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.metered = nil // who asks hears that there is none
	if err == nil {
		k.metered = &metered{number: m.Number, run: m.Run, meter: meter}
	}
}

func (k *kernel) lastMetered() *metered {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.metered
}

// notice ends the measuring when a message is the idle status of its run. It is called before that is queued.
func (k *kernel) notice(channel messaging.Channel, frames [][]byte) {
	if channel != messaging.IOPub {
		return
	}
	if m := k.lastMetered(); m != nil && idleOf(frames, m.run) {
		_, _ = k.usageOf(m.number)
	}
}

// settle ends the measuring with the kernel.
func (k *kernel) settle() {
	if m := k.lastMetered(); m != nil {
		_, _ = k.usageOf(m.number)
	}
}

// usageOf ends the measuring of a run unless it is over. Error: backends.ErrNotFound.
func (k *kernel) usageOf(number uint64) (*agentpb.Usage, error) {
	k.measuring.Lock()
	defer k.measuring.Unlock()
	m := k.lastMetered()
	if m == nil || m.number != number {
		return nil, backends.ErrNotFound
	}
	if m.usage != nil {
		return m.usage, nil
	}
	value, err := m.meter.Stop(context.Background())
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	m.usage = agentpb.NewUsage(value)
	return m.usage, nil
}

// untold is a usage that no relay has told yet.
func (k *kernel) untold() *agentpb.RunUsage {
	k.mu.Lock()
	defer k.mu.Unlock()
	m := k.metered
	if m == nil || m.usage == nil || m.told {
		return nil
	}
	m.told = true
	return &agentpb.RunUsage{Number: m.number, Usage: m.usage}
}

var statusWord = []byte("status")

// idleOf reports whether a message is the idle status of what a request has asked for.
func idleOf(frames [][]byte, request string) bool {
	for i, frame := range frames {
		if !bytes.Equal(frame, delimiter) || i+5 >= len(frames) {
			continue
		}
		if header := frames[i+2]; len(header) > 4096 || !bytes.Contains(header, statusWord) {
			return false // most are no status, and reading them would cost
		}
		var header, parent struct {
			MsgID   string `json:"msg_id"`
			MsgType string `json:"msg_type"`
		}
		var content struct {
			State string `json:"execution_state"`
		}
		return json.Unmarshal(frames[i+2], &header) == nil && header.MsgType == "status" &&
			json.Unmarshal(frames[i+3], &parent) == nil && parent.MsgID == request &&
			json.Unmarshal(frames[i+5], &content) == nil && content.State == "idle"
	}
	return false
}
