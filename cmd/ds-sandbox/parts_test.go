package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func TestKeyboardNeverGivesMoreThanALine(t *testing.T) {
	k := &keyboard{in: strings.NewReader("one\r\ntwo\rthree\n\nfour")}
	var got []string
	p := make([]byte, 100)
	for {
		n, err := k.read(context.Background(), p)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		got = append(got, string(p[:n]))
	}
	require.Equal(t, []string{"one\r\n", "two\r", "three\n", "\n", "four"}, got)
}

func TestKeyboardKeepsWhatComesAfterAReadWasGivenUp(t *testing.T) {
	r, w := io.Pipe()
	k := &keyboard{in: r}
	reason := errors.New("enough")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(reason)
	p := make([]byte, 2)
	_, err := k.read(ctx, p)
	require.ErrorIs(t, err, reason)

	ctx, cancel = context.WithCancelCause(context.Background())
	given := make(chan error)
	go func() {
		_, err := k.read(ctx, make([]byte, 10))
		given <- err
	}()
	cancel(reason)
	require.ErrorIs(t, <-given, reason)
	go func() {
		_, _ = w.Write([]byte("late\n"))
		_ = w.CloseWithError(io.EOF)
	}()
	text := ""
	for {
		n, err := k.read(context.Background(), p)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		text += string(p[:n])
	}
	require.Equal(t, "late\n", text)
}

func TestHistoryIsBoundedAndKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "history")
	h, err := openHistory(path)
	require.NoError(t, err)
	for i := range 5 * maxHistory {
		h.Add("line " + strconv.Itoa(i))
	}
	h.Add("   ")
	h.Add("line " + strconv.Itoa(5*maxHistory-1))
	require.LessOrEqual(t, h.Len(), 2*maxHistory)
	require.Equal(t, "line "+strconv.Itoa(5*maxHistory-1), h.At(0))
	require.Equal(t, "line "+strconv.Itoa(5*maxHistory-2), h.At(1))

	again, err := openHistory(path)
	require.NoError(t, err)
	require.Equal(t, maxHistory, again.Len())
	require.Equal(t, h.At(0), again.At(0))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, maxHistory, bytes.Count(data, []byte("\n")), "the file was shortened")

	none, err := openHistory("none")
	require.NoError(t, err)
	none.Add("x")
	require.Equal(t, 1, none.Len())
}

func TestHistoryThatCantBeKeptIsNoReasonToFail(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	h, err := openHistory(filepath.Join(file, "history"))
	require.Error(t, err)
	h.Add("x")
	require.Equal(t, "x", h.At(0))
}

func TestMatchesOfAHostileKernelAreShownHarmless(t *testing.T) {
	var b bytes.Buffer
	matches := []string{"good", "\x1b[2Jbad\r\n", "\u009bworse"}
	for range 10_000 {
		matches = append(matches, "x")
	}
	showMatches(&b, matches)
	require.NotContains(t, b.String(), "\x1b")
	require.NotContains(t, b.String(), "\r")
	require.NotContains(t, b.String(), "\u009b")
	require.Contains(t, b.String(), "[2Jbad")
	require.Contains(t, b.String(), "... and ")
	require.Less(t, b.Len(), 100*maxShown)
}

func TestCommonPrefixIsCutBetweenCharacters(t *testing.T) {
	for want, words := range map[string][]string{
		"":    {"a", "b"},
		"ab":  {"abc", "abd", "ab"},
		"ä":   {"äö", "äü"},
		"one": {"one"},
	} {
		require.Equal(t, want, commonPrefix(words))
	}
	require.Empty(t, commonPrefix([]string{"é", "è"}), "they share a byte, not a character")
}

func TestSystemExitMeansItsCode(t *testing.T) {
	for value, want := range map[string]int{"": 0, "None": 0, "0": 0, "False": 0, "True": 1, "3": 3, "256": 0, "-1": 255, "oh no": 1} {
		code, ok := systemExit(&sandbox.ExecutionError{Name: "SystemExit", Value: value})
		require.True(t, ok)
		require.Equal(t, want, code, value)
	}
	_, ok := systemExit(&sandbox.ExecutionError{Name: "ValueError", Value: "3"})
	require.False(t, ok)
}

// stuck is a reader that takes nothing until it is let go.
type stuck struct {
	free chan struct{}
	n    int
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.free
	s.n += bytes.Count(p, []byte("\n"))
	return len(p), nil
}

func TestATraceNeverWaitsForItsReader(t *testing.T) {
	w := &stuck{free: make(chan struct{})}
	tr := newTrace(w)
	m := &messaging.Message{Channel: messaging.Shell, Header: messaging.Header{MsgType: "status"}}
	for range 3 * traceLines {
		tr.add("->", m) // would hang for good
	}
	close(w.free)
	tr.close()
	tr.add("->", m)
	require.LessOrEqual(t, w.n, traceLines+3)
	require.Greater(t, w.n, traceLines-1)
}

func TestSizesAreReadAsPeopleWriteThem(t *testing.T) {
	for text, want := range map[string]int64{
		"": 0, "1": 1, "1000000": 1_000_000, "512M": 512 << 20, "1.5g": 3 << 29, "2GiB": 2 << 30, " 4kb ": 4 << 10, "1T": 1 << 40,
	} {
		got, err := readSize(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"x", "-1", "0", "M", "1X", "nan", "inf", "9999999T", "1 2"} {
		_, err := readSize(text)
		require.Error(t, err, text)
	}
}
