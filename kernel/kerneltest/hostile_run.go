package kerneltest

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// hostileFrames are wrong below the message: ZMTP frames that lie.
func hostileFrames() []HostileCase {
	spoil := func(ch messaging.Channel, b []byte) func(*Call) {
		return func(c *Call) {
			start(c)
			c.Bytes(ch, b)
		}
	}
	return []HostileCase{
		{Name: "frame of 2^62 bytes on iopub", Outcome: EndsBadly, Connects: true, run: spoil(messaging.IOPub, longHeader(0, 1<<62))},
		{Name: "frame of 2^62 bytes on shell", Outcome: EndsBadly, Connects: true, run: spoil(messaging.Shell, longHeader(0, 1<<62))},
		{Name: "frame of 2^64-1 bytes", Outcome: EndsBadly, Connects: true, run: spoil(messaging.IOPub, longHeader(0, 1<<64-1))},
		{Name: "command of 2^40 bytes", Outcome: EndsBadly, Connects: true, run: spoil(messaging.IOPub, longHeader(0x04, 1<<40))},
		{
			Name: "message of frames without end", Outcome: EndsBadly, Connects: true,
			run: spoil(messaging.IOPub, bytes.Repeat([]byte{0x01, 1, 'x'}, 1<<20)),
		},
		{
			Name: "frames that add up to more than a message", Outcome: EndsBadly, Connects: true,
			run: spoil(messaging.IOPub, append(append(longHeader(0x01, 1<<20), make([]byte, 1<<20)...), longHeader(0, 1<<33)...)),
		},
		{Name: "frames that add up to what could be left out", Outcome: EndsWell, Connects: true, Patience: true, run: func(c *Call) {
			start(c)
			c.Bytes(messaging.IOPub, append(append(longHeader(0x01, 1<<20), make([]byte, 1<<20)...), longHeader(0, 1<<28)...))
			c.Reply(nil) // the idle can't follow: iopub waits for the rest
		}},
		{Name: "announces 200 MB and sends 4", Outcome: EndsWell, Connects: true, Patience: true, run: func(c *Call) {
			start(c)
			c.Bytes(messaging.IOPub, append(longHeader(0, 200<<20), "evil"...))
			c.Reply(nil) // the idle can't follow: iopub waits for the rest of a frame
		}},
		{Name: "message that trickles", Outcome: EndsWell, Connects: true, Patience: true, run: func(c *Call) {
			start(c)
			c.Go(func() {
				trickle(c.kernel, longHeader(0, 1<<20), 20*time.Millisecond, func(b []byte) error {
					c.Bytes(messaging.IOPub, b)
					return nil
				})
			})
			c.Reply(nil)
		}},
		{Name: "pings without end", Outcome: EndsWell, Connects: true, run: amid(func(c *Call) {
			c.Bytes(messaging.IOPub, bytes.Repeat(command("\x04PING\x00\x00evil"), 100_000))
		})},
		{Name: "commands nobody knows", Outcome: EndsWell, Connects: true, run: amid(func(c *Call) {
			c.Bytes(messaging.IOPub, bytes.Repeat(command("\x04EVIL"), 1000))
		})},
	}
}

// hostileMessages are whole messages that lie or make no sense.
func hostileMessages() []HostileCase {
	return []HostileCase{
		{Name: "signs nothing rightly", Outcome: EndsBadly, Connects: true, Patience: true, run: func(c *Call) {
			forge(c, c.Message(messaging.IOPub, &messaging.Status{ExecutionState: messaging.StateBusy}))
			forge(c, c.Message(messaging.IOPub, &messaging.Stream{Name: messaging.Stdout, Text: "evil\n"}))
			forge(c, c.Message(messaging.Shell, &messaging.ExecuteReply{Status: messaging.StatusOK}))
			forge(c, c.Message(messaging.IOPub, &messaging.Status{ExecutionState: messaging.StateIdle}))
		}},
		{Name: "forged messages between good ones", Outcome: EndsWell, Connects: true, run: amid(func(c *Call) {
			forge(c, c.Message(messaging.IOPub, &messaging.Stream{Name: messaging.Stdout, Text: "evil\n"}))
			forge(c, c.Message(messaging.IOPub, &messaging.Status{ExecutionState: messaging.StateIdle}))
			forge(c, c.Message(messaging.Shell, &messaging.ExecuteReply{Status: messaging.StatusError}))
		})},
		{Name: "replies twice and is idle twice", Outcome: EndsWell, Connects: true, run: func(c *Call) {
			start(c)
			reply := c.Encode(c.Message(messaging.Shell, &messaging.ExecuteReply{Status: messaging.StatusOK}))
			idle := c.Encode(c.Message(messaging.IOPub, &messaging.Status{ExecutionState: messaging.StateIdle}))
			for range 3 {
				c.Frames(messaging.Shell, reply)
			}
			for range 3 {
				c.Frames(messaging.IOPub, idle)
			}
		}},
		{Name: "replays the run before", Outcome: EndsWell, Connects: true, run: replayer()},
		{Name: "answers for others", Outcome: EndsWell, Connects: true, run: amid(func(c *Call) {
			for _, other := range []*Call{c.Foreign(), c.Under(nil)} {
				other.Stream(messaging.Stdout, "evil\n")
				other.Reply(&messaging.ExecuteReply{Status: messaging.StatusError})
				other.Idle()
			}
		})},
		{Name: "answers on the wrong channels", Outcome: EndsWell, Connects: true, run: func(c *Call) {
			c.Busy()
			for _, ch := range []messaging.Channel{messaging.Control, messaging.Stdin} {
				c.Send(c.Message(ch, &messaging.ExecuteReply{Status: messaging.StatusError}))
				c.Send(c.Message(ch, &messaging.Status{ExecutionState: messaging.StateIdle}))
				c.Send(c.Message(ch, &messaging.Stream{Name: messaging.Stdout, Text: "evil\n"}))
			}
			c.Send(c.Message(messaging.Shell, &messaging.Status{ExecutionState: messaging.StateIdle}))
			// What is right follows late and outputs after the reply, as they may, so that a run that took one of the above
			// for its idle has ended by then, without the output.
			_ = c.Sleep(50 * time.Millisecond)
			c.Reply(nil)
			_ = c.Sleep(50 * time.Millisecond)
			c.Stream(messaging.Stdout, HostileOutput)
			c.Idle()
		}},
		{Name: "is never idle", Outcome: EndsWell, Connects: true, Patience: true, run: func(c *Call) { start(c); c.Reply(nil) }},
		{Name: "never replies", Outcome: EndsBadly, Connects: true, Patience: true, run: func(c *Call) { start(c); c.Idle() }},
		{Name: "neither replies nor is idle", Outcome: EndsBadly, Connects: true, Patience: true, run: start},
		{Name: "never says anything", Outcome: EndsBadly, Connects: true, Patience: true, run: func(*Call) {}},
		{Name: "contents that make no sense", Outcome: EndsWell, Connects: true, run: amid(oddContents)},
		{Name: "headers that make no sense", Outcome: EndsWell, Connects: true, run: amid(oddHeaders)},
		{Name: "reply that makes no sense", Outcome: EndsBadly, Connects: true, Patience: true, run: func(c *Call) {
			start(c)
			m := c.Message(messaging.Shell, &messaging.ExecuteReply{})
			m.Content = []byte("[\"evil\"")
			c.Send(m)
			c.Idle()
		}},
		{Name: "asks for input nobody allowed", Outcome: EndsWell, Connects: true, run: amid(func(c *Call) {
			for range 1000 {
				c.Send(c.Message(messaging.Stdin, &messaging.InputRequest{Prompt: "evil", Password: true}))
			}
		})},
	}
}

// hostileFloods are too much of something.
func hostileFloods() []HostileCase {
	const million = 1_000_000
	return []HostileCase{
		{Name: "a million empty texts", Outcome: EndsWell, Connects: true, run: amid(func(c *Call) {
			repeat(c, million, c.Encode(c.Message(messaging.IOPub, &messaging.Stream{Name: messaging.Stdout})))
		})},
		{Name: "a hundred thousand messages for others", Outcome: EndsWell, Connects: true, run: amid(func(c *Call) {
			other := c.Foreign()
			repeat(c, 100_000, other.Encode(other.Message(messaging.IOPub, &messaging.Stream{Name: messaging.Stdout, Text: "evil\n"})))
		})},
		{Name: "a million frames that are no message", Outcome: EndsWell, Connects: true, run: amid(func(c *Call) {
			repeat(c, million, [][]byte{[]byte("x")})
		})},
		{Name: "output without end, deaf to interrupts", Outcome: EndsBadly, Connects: true, Patience: true, run: func(c *Call) {
			start(c)
			frames := c.Encode(c.Message(messaging.IOPub, &messaging.Stream{Name: messaging.Stderr, Text: strings.Repeat("x", 1000)}))
			for c.kernel.life.Err() == nil {
				repeat(c, 1000, frames)
			}
		}},
	}
}

// forge sends a message with a wrong signature, and again with none.
func forge(c *Call, m *messaging.Message) {
	frames := c.Encode(m)
	for i, f := range frames {
		if string(f) == messaging.Delimiter {
			for _, signature := range []string{strings.Repeat("0", 64), ""} {
				frames[i+1] = []byte(signature)
				c.Frames(m.Channel, append([][]byte(nil), frames...))
			}
			return
		}
	}
}

// replayer sends the end of the run before in the middle of the next.
func replayer() func(*Call) {
	var mu sync.Mutex
	var reply, idle [][]byte
	return func(c *Call) {
		mu.Lock()
		defer mu.Unlock()
		c.Busy()
		if reply != nil {
			c.Frames(messaging.Shell, reply)
			c.Frames(messaging.IOPub, idle)
		}
		c.Stream(messaging.Stdout, HostileOutput)
		reply = c.Encode(c.Message(messaging.Shell, &messaging.ExecuteReply{Status: messaging.StatusOK}))
		idle = c.Encode(c.Message(messaging.IOPub, &messaging.Status{ExecutionState: messaging.StateIdle}))
		c.Frames(messaging.Shell, reply)
		c.Frames(messaging.IOPub, idle)
	}
}

// oddContents sends contents that do not fit their types, rightly signed.
func oddContents(c *Call) {
	deep := strings.Repeat("[", 1_000_000)
	for _, content := range []string{
		``, `null`, `[]`, `"idle"`, `{`, `{"name":`, deep, `{"text":` + deep, `{"execution_state":{"idle":1}}`, `{"execution_state":NaN}`,
		"{\"name\":\"\xff\xfe\",\"text\":null}", `{"data":"x","metadata":[],"transient":7}`, `{"data":{"text/plain":{}},"transient":null}`,
		`{"ename":1,"evalue":[],"traceback":"x"}`, `{"wait":"x"}`, `{"comm_id":{}}`, "\x00\x01\x02",
	} {
		for _, body := range []messaging.Content{
			&messaging.Status{}, &messaging.Stream{Name: messaging.Stderr}, &messaging.DisplayData{}, &messaging.ExecuteResult{},
			&messaging.UpdateDisplayData{}, &messaging.ErrorOutput{}, &messaging.ClearOutput{}, &messaging.ExecuteInput{},
			&messaging.CommOpen{}, &messaging.UnknownContent{Type: "evil"},
		} {
			m := c.Message(messaging.IOPub, body)
			m.Content = []byte(content)
			c.Send(m)
		}
	}
}

// oddHeaders sends messages whose headers are none, rightly signed.
func oddHeaders(c *Call) {
	m := c.Message(messaging.IOPub, &messaging.Stream{Name: messaging.Stdout, Text: "evil\n"})
	good := c.Encode(m)[3]
	for _, header := range []string{
		``, `null`, `[]`, `{}`, `{"msg_type":""}`, `{"msg_type":{"evil":1}}`, `{"msg_id":`, strings.Repeat("[", 100_000),
		fmt.Sprintf(`{"msg_type":%q}`, strings.Repeat("evil", 1<<18)), "\xff\xfe",
	} {
		sendParts(c, []byte(header), []byte(`{}`))
	}
	for _, parent := range []string{``, `null`, `[]`, `"evil"`, `{"msg_id":null}`, `{"msg_id":7}`, `{`, strings.Repeat("[", 100_000)} {
		sendParts(c, good, []byte(parent))
	}
	c.Frames(messaging.IOPub, [][]byte{[]byte(messaging.Delimiter)})
	c.Frames(messaging.IOPub, [][]byte{[]byte(messaging.Delimiter), nil, nil, nil})
	c.Frames(messaging.IOPub, [][]byte{nil})
	c.Frames(messaging.Shell, [][]byte{[]byte("evil")})
}

// sendParts signs and sends a stream message with a header and parent of any bytes.
func sendParts(c *Call, header, parent []byte) {
	parts := [][]byte{header, parent, []byte(`{}`), []byte(`{"name":"stdout","text":"evil\n"}`)}
	frames := [][]byte{[]byte("stream.stdout"), []byte(messaging.Delimiter), sign(c.kernel.key, parts)}
	c.Frames(messaging.IOPub, append(frames, parts...))
}

// repeat sends the same frames n times on iopub, many in one write.
func repeat(c *Call, n int, frames [][]byte) {
	one := appendFrames(nil, frames)
	const batch = 1000
	many := bytes.Repeat(one, min(n, batch))
	for ; n > 0 && c.kernel.life.Err() == nil; n -= batch {
		c.kernel.put(item{channel: messaging.IOPub, bytes: many[:min(n, batch)*len(one)]}, nil, floodLimit)
	}
}
