package bridge

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// aliveEvery is how often server-sent events say that they go on, when nothing else is to say.
const aliveEvery = 15 * time.Second

// serveEvents tells the events of a context as server-sent events. The id of one is the journal's name and its number, so that
// browsers that come back by themselves go on where they were.
func (h *Handler) serveEvents(w http.ResponseWriter, r *http.Request, m *fleet.Member, c *sandbox.Context, others *audience, from int64) {
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no") // of proxies
	header.Set("X-Content-Type-Options", "nosniff")
	out := http.NewResponseController(w)
	journal := c.Journal().From(from)
	var b bytes.Buffer
	write := func(number int64, data []byte) error {
		b.Reset()
		if number > 0 {
			b.WriteString("id: " + h.journals + "." + strconv.FormatInt(number, 10) + "\n")
		}
		b.WriteString("data: ")
		b.Write(data) // JSON has no line ends
		b.WriteString("\n\n")
		_, err := w.Write(b.Bytes())
		if b.Cap() > chunk {
			b = bytes.Buffer{}
		}
		return err
	}
	tell := func(e *event) error {
		data, err := json.Marshal(e)
		if err != nil {
			return err
		}
		return write(0, data)
	}
	err := tell(h.greet(m, c))
	alive := time.NewTicker(aliveEvery)
	defer alive.Stop()
	var ended <-chan time.Time
	gone, live := m.Gone(), false
	for err == nil {
		e, changed, failed := others.next(journal)
		switch {
		case failed != nil:
			return
		case e != nil:
			if e.data != nil {
				err = write(e.number, e.data)
			}
			if err == nil && r.Context().Err() == nil && h.life.Err() == nil {
				continue
			}
		case changed == nil:
			_ = tell(goodbye(m)) // it is the end either way
			_ = out.Flush()
			return
		case !live:
			live = true
			err = tell(&event{Type: "live"})
		}
		if err == nil {
			err = out.Flush()
		}
		if err != nil {
			return
		}
		select {
		case <-changed:
		case <-alive.C:
			_, err = w.Write([]byte(": alive\n\n"))
		case <-gone:
			gone, ended = nil, time.After(endPatience)
		case <-ended:
			_ = tell(goodbye(m)) // as above
			return
		case <-r.Context().Done():
			return
		case <-h.life.Done():
			return
		}
	}
}

// cutLast is strings.Cut at the last sep.
func cutLast(s string, sep byte) (before, after string, found bool) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}
