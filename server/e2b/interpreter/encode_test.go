package interpreter

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func FuzzEncode(f *testing.F) {
	f.Add("plain", `{"a": [1, "ä", null]}`)
	f.Add("\x00\x1f\"\\\n\u2028\U0001f600\xff\xed\xa0\x80", "[\n\t1,\r\n\"\U0001f600\u0085\"]")
	f.Fuzz(func(t *testing.T, text, value string) {
		var line bytes.Buffer
		out := bufio.NewWriter(&line)
		o := object{out: out}
		o.text("text", text)
		valid := json.Valid([]byte(value)) && utf8.ValidString(value)
		if valid {
			o.value("value", json.RawMessage(value))
		}
		o.end()
		require.NoError(t, out.Flush())
		for _, b := range line.Bytes() {
			require.True(t, b >= ' ' && b < utf8.RuneSelf, "%q", line.String())
		}
		var back struct {
			Text  string
			Value any
		}
		require.NoError(t, json.Unmarshal(line.Bytes(), &back), line.String())
		require.Equal(t, strings.ToValidUTF8(text, "\uFFFD"), collapse(back.Text, text))
		if valid {
			var want any
			require.NoError(t, json.Unmarshal([]byte(value), &want))
			require.Equal(t, want, back.Value)
		}
	})
}

// collapse makes one replacement character of a run of them where the original had bytes that are no UTF-8, as strings.ToValidUTF8 does.
func collapse(got, original string) string {
	if utf8.ValidString(original) {
		return got
	}
	return strings.ToValidUTF8(string(replace([]byte(got), original)), "\uFFFD")
}

// replace turns the replacement characters of got that stand for bad bytes back into bad bytes.
func replace(got []byte, original string) []byte {
	var out []byte
	for i := 0; i < len(original); {
		r, size := utf8.DecodeRuneInString(original[i:])
		_, written := utf8.DecodeRune(got)
		if r == utf8.RuneError && size == 1 {
			out = append(out, 0xff)
		} else {
			out = append(out, got[:written]...)
		}
		i, got = i+size, got[written:]
	}
	return append(out, got...)
}

func TestOutputThatIsMissingIsTold(t *testing.T) {
	recorder := httptest.NewRecorder()
	s := New(nil).open(recorder, func(error) {})
	s.begin()
	s.output(&sandbox.Cut{Messages: 2, Bytes: 30})
	s.output(&sandbox.Cleared{})
	s.output(&sandbox.Result{Text: "1", IsUpdate: true})
	s.end()
	s.close()
	s.end()
	lines := strings.Split(strings.TrimSpace(recorder.Body.String()), "\n")
	require.Len(t, lines, 3, "no frames for what E2B has no word for, none after the end")
	require.Equal(t, `{"type":"truncated","messages":2,"bytes":30}`, lines[0])
	require.Contains(t, lines[1], `{"type":"stderr","text":"[ds-sandbox: 30 bytes of output are left out here`)
	require.Equal(t, `{"type":"end_of_execution"}`, lines[2])
	require.Equal(t, "application/x-ndjson", recorder.Header().Get("Content-Type"))
}

func TestAnAnswerThatWaitsTooLongBegins(t *testing.T) {
	begun := make(chan struct{})
	recorder := &watched{ResponseRecorder: httptest.NewRecorder(), begun: begun}
	_, leave := context.WithCancelCause(t.Context())
	s := New(&Options{StartPatience: time.Millisecond, Keepalive: time.Hour}).open(recorder, leave)
	defer s.close()
	<-begun
	require.False(t, s.withdraw())
	other := New(nil).open(httptest.NewRecorder(), leave)
	defer other.close()
	require.True(t, other.withdraw())
	other.begin()
	require.False(t, other.begun)
}

type watched struct {
	*httptest.ResponseRecorder
	begun chan struct{}
}

func (w *watched) WriteHeader(status int) {
	w.ResponseRecorder.WriteHeader(status)
	close(w.begun)
}

func TestTextsOfStringsAreTheirValues(t *testing.T) {
	for text, want := range map[string]string{"'a'": "a", `"a"`: "a", `'a"`: `'a"`, "'": "'", "": "", "''": "", "1": "1"} {
		require.Equal(t, want, unquoted(text))
	}
}
