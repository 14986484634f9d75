package kernel

import "github.com/ds-sandbox/ds-sandbox/messaging"

// lateRuns is of how many runs that are over a connection still knows whose output is.
const lateRuns = 256

// lateOutput knows runs that are over by the ids of their requests: threads that they began may show something later.
type lateOutput struct {
	heard map[string]func(*messaging.Message)
	order []string // the oldest first
}

// expect has f hear what comes for a run that is over.
func (l *lateOutput) expect(id string, f func(*messaging.Message)) {
	if l.heard == nil {
		l.heard = make(map[string]func(*messaging.Message))
	}
	if l.heard[id] == nil { // front ends choose their own ids
		l.order = append(l.order, id)
	}
	l.heard[id] = f
	if len(l.order) > lateRuns {
		delete(l.heard, l.order[0])
		l.order = l.order[1:]
	}
}

// of is who hears a message that belongs to nothing under way; nil when nobody does.
func (l *lateOutput) of(m *messaging.Message) func(*messaging.Message) {
	if m.Channel != messaging.IOPub || m.Header.MsgType == "status" {
		return nil
	}
	return l.heard[m.ParentID()]
}
