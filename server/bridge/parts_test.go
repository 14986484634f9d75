package bridge

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func FuzzReadRequest(f *testing.F) {
	for _, seed := range []string{
		`{"type":"run","id":"1","code":"1+1","cell":"c","timeout_ms":5,"env":{"A":"b"},"args":["x"],"silent":true}`,
		`{"type":"interrupt","waiting":true}`, `{"type":"input","run":3,"value":"x"}`, `{"type":"input","end":true}`,
		`{"type":"complete","code":"a.","cursor":2}`, `{"type":"inspect","code":"a","cursor":1,"detail":1}`, `{"type":"ping"}`,
		`{"type":"create_context","language":"python","dir":"x"}`, `{"TYPE":"run"}`, `{"id":[]}`, "null", "", "{}", "\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := readRequest(data)
		require.NotNil(t, r)
		require.LessOrEqual(t, len(r.ID), maxID)
		if err != nil {
			require.NotEmpty(t, err.Error())
			require.True(t, utf8.ValidString(problemOf(err).Message) || !utf8.Valid(data))
			return
		}
		require.Contains(t, members, r.Type)
		require.LessOrEqual(t, len(r.Cell), maxCell)
		opts := r.options()
		require.GreaterOrEqual(t, opts.Timeout, opts.Timeout.Truncate(1))
		require.GreaterOrEqual(t, int64(opts.Timeout), int64(0))
	})
}

// script is a journal of lines of output, that counts how many are decoded.
type script struct {
	last    int64
	at      int64
	decoded *int
}

func (s *script) Position() int64 { return s.at }

func (s *script) Skip() { s.at++ }

func (s *script) TryNext() (*sandbox.JournalEntry, <-chan struct{}) {
	if s.at > s.last {
		return nil, make(chan struct{})
	}
	s.at++
	*s.decoded++
	if s.at == 2 { // of this reader alone
		return &sandbox.JournalEntry{Number: 1, Event: kernel.Event{Content: &sandbox.Dropped{Entries: 1}}}, nil
	}
	text := strings.Repeat("x", 1000)
	return &sandbox.JournalEntry{Number: s.at - 1, Run: 1, Event: kernel.Event{Content: &messaging.Stream{Name: messaging.Stdout, Text: text}}}, nil
}

func TestEventsAreEncodedOnceForAnAudience(t *testing.T) {
	h := New(Options{})
	c := new(sandbox.Context)
	read := func(a *audience, s *script) (told [][]byte) {
		for {
			e, changed, err := a.next(s)
			require.NoError(t, err)
			if e == nil {
				require.NotNil(t, changed)
				return told
			}
			require.Equal(t, s.at-1, e.number)
			told = append(told, e.data)
		}
	}
	decoded := 0
	a, leave := h.join(c)
	first := read(a, &script{last: 20, at: 1, decoded: &decoded})
	require.Empty(t, a.kept, "nobody else reads")
	b, part := h.join(c)
	require.Same(t, a, b)
	require.Equal(t, first, read(a, &script{last: 20, at: 1, decoded: &decoded}))
	before := decoded
	require.Equal(t, first, read(b, &script{last: 20, at: 1, decoded: &decoded}))
	require.Equal(t, 1, decoded-before, "only what its own reader had missed")

	read(a, &script{last: 10_000, at: 1, decoded: &decoded}) // 10 MB
	require.LessOrEqual(t, a.bytes, keptEvents)
	require.Len(t, a.order, len(a.kept))
	require.NotContains(t, a.kept, int64(20))
	require.Contains(t, a.kept, int64(10_000))
	part()
	require.Empty(t, a.kept)
	leave()
	require.Empty(t, h.audiences)
	require.NoError(t, h.Close(t.Context()))
}
