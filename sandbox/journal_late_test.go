package sandbox

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

func printed(t *testing.T, text string) *messaging.Message {
	t.Helper()
	m, err := messaging.NewSession("").New(messaging.IOPub, &messaging.Stream{Name: messaging.Stdout, Text: text})
	require.NoError(t, err)
	return m
}

// briefly is what a journal has from an entry on: each entry's run and what it is.
func briefly(j *Journal, from int64) string {
	var told []string
	r := j.From(from)
	for {
		entry, _ := r.TryNext()
		if entry == nil {
			return strings.Join(told, " ")
		}
		word := ""
		switch c := entry.Content.(type) {
		case *RunBegan:
			word = "began"
		case *RunOver:
			word = "over"
		case *Dropped:
			word = fmt.Sprint("dropped", c.Entries)
		case *messaging.Stream:
			word = strings.TrimLeft(c.Text, " ")
		}
		told = append(told, fmt.Sprintf("%d:%d%s", entry.Number, entry.Run, word))
	}
}

func TestJournalTellsWhoseLateOutputIs(t *testing.T) {
	j := newJournal(1 << 20)
	first := j.begin(&RunBegan{})
	j.add(first, printed(t, "a"))
	j.end(first, &RunOver{})
	late := j.lateOf(first.number)
	late(printed(t, "b"))
	late(printed(t, "c"))
	status, err := messaging.NewSession("").New(messaging.IOPub, &messaging.Status{ExecutionState: messaging.StateIdle})
	require.NoError(t, err)
	late(status) // says nothing
	second := j.begin(&RunBegan{})
	late(printed(t, "d"))
	j.add(second, printed(t, "e"))
	j.end(second, &RunOver{})
	late(printed(t, "f"))
	want := []string{"1:1began", "2:1a", "3:1over", "4:1b", "5:1c", "6:2began", "7:1d", "8:2e", "9:2over", "10:1f"}
	for from := range len(want) {
		require.Equal(t, strings.Join(want[from:], " "), briefly(j, int64(from+1)))
	}
	j.close()
	require.Equal(t, strings.Join(want, " "), briefly(j, 1))
}

func TestJournalIsBoundedByAThreadThatNeverEnds(t *testing.T) {
	j := newJournal(100_000)
	run := j.begin(&RunBegan{})
	j.end(run, &RunOver{})
	late := j.lateOf(run.number)
	for i := range 1000 {
		late(printed(t, fmt.Sprintf("%1000d", i)))
		require.LessOrEqual(t, j.bytes, j.budget)
	}
	told := briefly(j, 1)
	require.Regexp(t, `^1:1began 2:1over 3:10 \d+:0dropped\d+ .* 1002:1999$`, told)
	require.Regexp(t, `^1001:1998 1002:1999$`, briefly(j, 1001))
	next := j.begin(&RunBegan{})
	for i := range 1000 {
		j.add(next, printed(t, fmt.Sprintf("%1000d", i)))
		require.LessOrEqual(t, j.bytes, j.budget)
	}
	require.Regexp(t, `^1:1began 2:1over 3:10 1002:0dropped999 1003:2began 1\d+:0dropped\d+ .* 2003:2999$`, briefly(j, 1))
}
