package kerneltest

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// standard answers a request that is not an execution. What it does not know gets no answer, only busy and idle.
func (k *Kernel) standard(c *Call, content messaging.Content) {
	switch r := content.(type) {
	case *messaging.KernelInfoRequest:
		c.Answer(k.info())
	case *messaging.IsCompleteRequest:
		c.Answer(isComplete(r.Code))
	case *messaging.CompleteRequest:
		c.Answer(k.complete(r))
	case *messaging.InspectRequest:
		_, found := k.find(k.codes, r.Code)
		reply := &messaging.InspectReply{
			Status: messaging.StatusOK, Found: found, Data: messaging.MIMEBundle{}, Metadata: messaging.MIMEBundle{},
		}
		if found {
			reply.Data = Text("a script: " + r.Code)
		}
		c.Answer(reply)
	case *messaging.HistoryRequest:
		c.Answer(&messaging.HistoryReply{Status: messaging.StatusOK, History: k.pastInputs(r)})
	case *messaging.CommInfoRequest:
		c.Answer(&messaging.CommInfoReply{Status: messaging.StatusOK, Comms: k.openComms(r.TargetName)})
	case *messaging.CommOpen:
		k.mu.Lock()
		k.comms[r.CommID] = messaging.CommInfo{TargetName: r.TargetName}
		k.mu.Unlock()
	case *messaging.CommClose:
		k.mu.Lock()
		delete(k.comms, r.CommID)
		k.mu.Unlock()
	case *messaging.CommMsg:
		k.echoComm(c, r)
	case *messaging.InterruptRequest:
		k.Interrupt()
		c.Answer(&messaging.InterruptReply{Status: messaging.StatusOK})
	case *messaging.ShutdownRequest:
		reply := &messaging.ShutdownReply{Status: messaging.StatusOK, Restart: r.Restart}
		c.Answer(reply)
		c.Publish(reply)
	}
}

func (k *Kernel) info() *messaging.KernelInfoReply {
	return &messaging.KernelInfoReply{
		Status: messaging.StatusOK, ProtocolVersion: messaging.ProtocolVersion,
		Implementation: "kerneltest", ImplementationVersion: "1.0",
		LanguageInfo: messaging.LanguageInfo{Name: "echo", Version: "1.0", MIMEType: "text/plain", FileExtension: ".txt"},
		Banner:       "A kernel that repeats what it is told.",
	}
}

// isComplete calls code incomplete that ends in a colon or a backslash.
func isComplete(code string) *messaging.IsCompleteReply {
	code = strings.TrimRight(code, " \t")
	if strings.HasSuffix(code, ":") || strings.HasSuffix(code, "\\") {
		return &messaging.IsCompleteReply{Status: "incomplete", Indent: "    "}
	}
	return &messaging.IsCompleteReply{Status: "complete"}
}

// complete knows the code that has scripts.
func (k *Kernel) complete(r *messaging.CompleteRequest) *messaging.CompleteReply {
	points := []rune(r.Code)
	cursor := min(max(r.CursorPos, 0), len(points))
	reply := &messaging.CompleteReply{
		Status: messaging.StatusOK, Matches: []string{}, CursorEnd: cursor, Metadata: messaging.MIMEBundle{},
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for code := range k.codes {
		if strings.HasPrefix(code, string(points[:cursor])) {
			reply.Matches = append(reply.Matches, code)
		}
	}
	slices.Sort(reply.Matches)
	return reply
}

// pastInputs are the last n inputs, or all.
func (k *Kernel) pastInputs(r *messaging.HistoryRequest) []messaging.HistoryEntry {
	k.mu.Lock()
	defer k.mu.Unlock()
	past := k.history
	if r.N > 0 && r.N < len(past) {
		past = past[len(past)-r.N:]
	}
	return append([]messaging.HistoryEntry{}, past...)
}

func (k *Kernel) openComms(target string) map[string]messaging.CommInfo {
	k.mu.Lock()
	defer k.mu.Unlock()
	open := make(map[string]messaging.CommInfo)
	for id, info := range k.comms {
		if target == "" || info.TargetName == target {
			open[id] = info
		}
	}
	return open
}

// echoComm sends a message of an open comm back, with its buffers. One for a comm that is not open is ignored.
func (k *Kernel) echoComm(c *Call, r *messaging.CommMsg) {
	k.mu.Lock()
	_, open := k.comms[r.CommID]
	k.mu.Unlock()
	if !open {
		return
	}
	if !json.Valid(r.Data) {
		r.Data = nil
	}
	m := c.Message(messaging.IOPub, r)
	m.Buffers = c.Request.Buffers
	c.Send(m)
}
