package messaging

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEveryTypeOfTheTableSaysItsName(t *testing.T) {
	for name, build := range contents {
		require.Equal(t, name, build().MsgType())
	}
}

// fill sets every field of a value to something that is not zero.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("s<ü>")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(7)
	case reflect.Float64:
		v.SetFloat(1.5)
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[json.RawMessage]() {
			v.SetBytes([]byte(`{"k":[1]}`))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		item := reflect.New(v.Type().Elem()).Elem()
		fill(item)
		v.SetMapIndex(reflect.ValueOf("k"), item)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	}
}

func TestEveryContentSurvivesTheWire(t *testing.T) {
	signer, err := NewSigner("", []byte("k"))
	require.NoError(t, err)
	session := NewSession("me")
	for name, build := range contents {
		body := build()
		fill(reflect.ValueOf(body).Elem())
		m, err := session.New(Shell, body)
		require.NoError(t, err, name)
		require.NotContains(t, string(m.Content), `\u003c`, "kernels need no HTML escapes")
		frames, err := signer.Encode(m)
		require.NoError(t, err)
		again, err := signer.Decode(Shell, frames)
		require.NoError(t, err)
		got, err := again.Decode()
		require.NoError(t, err, name)
		require.Equal(t, body, got, name)
	}
}

func TestZeroContentsAreObjectsAndNeverNull(t *testing.T) {
	for name, build := range contents {
		m, err := NewSession("").New(Shell, build())
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(m.Content), "{"), "%s: %s", name, m.Content)
	}
	m, err := NewSession("").New(Shell, &ExecuteRequest{})
	require.NoError(t, err)
	require.Contains(t, string(m.Content), `"user_expressions":{}`)
}

func TestTamperingIsNoticedBeforeAnythingIsRead(t *testing.T) {
	signer, err := NewSigner("hmac-sha256", []byte("key"))
	require.NoError(t, err)
	m, err := NewSession("").New(Shell, &ExecuteRequest{Code: "1"})
	require.NoError(t, err)
	frames, err := signer.Encode(m)
	require.NoError(t, err)
	for part := 1; part < len(frames); part++ {
		bad := append([][]byte(nil), frames...)
		bad[part] = append([]byte("x"), bad[part]...)
		_, err := signer.Decode(Shell, bad)
		require.ErrorIs(t, err, ErrSignature, "part %d", part)
	}
	bad := append([][]byte(nil), frames...)
	bad[1] = nil
	_, err = signer.Decode(Shell, bad)
	require.ErrorIs(t, err, ErrSignature, "an empty signature is none")
	_, err = signer.Decode(Shell, frames[1:])
	require.ErrorIs(t, err, ErrDelimiter)
	_, err = signer.Decode(Shell, frames[:4])
	require.ErrorIs(t, err, ErrShort)
	_, err = signer.Decode(Shell, nil)
	require.ErrorIs(t, err, ErrDelimiter)

	open, err := NewSigner("", nil)
	require.NoError(t, err)
	_, err = open.Decode(Shell, frames)
	require.NoError(t, err, "without a key nothing is verified")
	_, err = NewSigner("hmac-crc32", []byte("k"))
	require.ErrorContains(t, err, "hmac-crc32")
}

func TestIdentitiesAndBuffersFrameTheMessage(t *testing.T) {
	signer, err := NewSigner("hmac-sha512", []byte("key"))
	require.NoError(t, err)
	m, err := NewSession("").New(IOPub, &CommMsg{CommID: "c"})
	require.NoError(t, err)
	m.Identities = [][]byte{[]byte("topic"), {0, 1}}
	m.Buffers = [][]byte{[]byte(Delimiter), {}}
	frames, err := signer.Encode(m)
	require.NoError(t, err)
	require.Len(t, frames, 2+6+2)
	got, err := signer.Decode(IOPub, frames)
	require.NoError(t, err)
	require.Equal(t, m.Identities, got.Identities)
	require.Equal(t, m.Buffers, got.Buffers)
	require.Nil(t, got.Parent)
	require.Equal(t, "{}", string(frames[5]))
}

func TestChildRepeatsTheParentsHeaderByteForByte(t *testing.T) {
	signer, err := NewSigner("", nil)
	require.NoError(t, err)
	odd := []byte(`{ "msg_id":"1", "date": 1700000000.25, "session":"s","username":"u","msg_type":"execute_request","version":"9","extra":[1] }`)
	frames := [][]byte{[]byte(Delimiter), {}, odd, []byte("{}"), []byte("{}"), []byte("{}")}
	m, err := signer.Decode(Shell, frames)
	require.NoError(t, err)
	require.Equal(t, int64(1700000000250), m.Header.Time().UnixMilli())
	child, err := m.Child(IOPub, &Status{ExecutionState: StateBusy})
	require.NoError(t, err)
	out, err := signer.Encode(child)
	require.NoError(t, err)
	require.Equal(t, string(odd), string(out[3]))
	require.Equal(t, "1", child.ParentID())
	require.NotEqual(t, "1", child.Header.MsgID)
}

func TestDatesOfAllKindsAreRead(t *testing.T) {
	want := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	for _, s := range []string{
		"2024-05-06T07:08:09Z", "2024-05-06T07:08:09.000000Z", "2024-05-06T09:08:09+02:00", "2024-05-06T09:08:09+0200",
		"2024-05-06T07:08:09", "1714979289", "1714979289.0",
	} {
		require.True(t, want.Equal(parseDate(s)), "%s: %v", s, parseDate(s))
	}
	for _, s := range []string{"", "yesterday", "-1", "1e300", "NaN"} {
		require.True(t, parseDate(s).IsZero(), s)
	}
}

func TestOddHeadersAreReadAndHopelessOnesRefused(t *testing.T) {
	signer, err := NewSigner("", nil)
	require.NoError(t, err)
	decode := func(header, parent string) (*Message, error) {
		return signer.Decode(IOPub, [][]byte{[]byte(Delimiter), {}, []byte(header), []byte(parent), []byte("{}"), []byte("{}")})
	}
	m, err := decode(`{"msg_type": "status", "date": null, "subshell_id": null, "nested": {"a": 1}, "version": 5.3}`, `null`)
	require.NoError(t, err)
	require.Equal(t, "status", m.Header.MsgType)
	require.Equal(t, "5.3", m.Header.Version)
	require.Empty(t, m.Header.SubshellID)
	require.Nil(t, m.Parent)
	m, err = decode("{\"msg_type\": \"a\\u00fcb\\n\\ud83d\\ude00\", \"msg_id\": \"\xff\"}", `{}`)
	require.NoError(t, err)
	require.Equal(t, "aüb\n😀", m.Header.MsgType)
	require.Equal(t, "\uFFFD", m.Header.MsgID)
	for _, bad := range []string{``, `{}`, `[]`, `"x"`, `{"msg_type": `, `{"msg_type": ""}`, `{"msg_type": "x"} {}`} {
		_, err := decode(bad, `{}`)
		require.Error(t, err, bad)
	}
	_, err = decode(`{"msg_type": "x"}`, `[1`)
	require.Error(t, err)
}

func TestContentsThatKernelsGetWrongAreRead(t *testing.T) {
	decode := func(kind, content string) (Content, error) {
		return (&Message{Header: Header{MsgType: kind}, Content: []byte(content)}).Decode()
	}
	read := func(kind, content string) Content {
		t.Helper()
		c, err := decode(kind, content)
		require.NoError(t, err, content)
		return c
	}
	require.Equal(t, StatusAborted, read("execute_reply", `{"status": "abort"}`).(*ExecuteReply).Status)
	require.True(t, read("kernel_info_reply", `{}`).(*KernelInfoReply).Status.OK())
	require.Nil(t, read("display_data", `{"data": null, "metadata": null, "transient": null}`).(*DisplayData).Data)
	nan := read("display_data", `{"data": {"application/json": {"a": NaN, "b": [-Infinity, Infinity], "c": "NaN"}}}`).(*DisplayData)
	require.JSONEq(t, `{"a": null, "b": [null, null], "c": "NaN"}`, string(nan.Data["application/json"]))
	require.Equal(t, "a\uFFFDb", read("stream", "{\"name\": \"stdout\", \"text\": \"a\xffb\"}").(*Stream).Text)
	require.Equal(t, `"quoted" \ / `+"\b\f\n\r\t", read("stream", `{"text": "\"quoted\" \\ \/ \b\f\n\r\t", "name": "stdout"}`).(*Stream).Text)
	require.Equal(t, "x", read("stream", `{"text": "x", "name": "stdout", "extra": {"a": []}}`).(*Stream).Text)
	lines := read("execute_result", `{"data": {"text/plain": ["a\n", "b"]}, "execution_count": null}`).(*ExecuteResult)
	text, ok := lines.Data.Text("text/plain")
	require.True(t, ok)
	require.Equal(t, "a\nb", text)
	require.Equal(t, `"python"`, string(read("kernel_info_reply", `{"language_info": {"codemirror_mode": "python"}}`).(*KernelInfoReply).LanguageInfo.CodeMirrorMode))
	history := read("history_reply", `{"history": [[1, 2, "in"], [1, 3, ["in", "out"]], [1, 4, ["in", null]]]}`).(*HistoryReply).History
	require.Equal(t, []HistoryEntry{{1, 2, "in", ""}, {1, 3, "in", "out"}, {1, 4, "in", ""}}, history)

	var unknown *UnknownContent
	unknown, ok = read("hologram", `{"a": 1}`).(*UnknownContent)
	require.True(t, ok)
	require.Equal(t, `{"a": 1}`, string(unknown.Raw))
	var content *ContentError
	for _, bad := range []string{`{"text": 1`, `[]`, `{"text": {}}`, `nonsense`} {
		_, err := decode("stream", bad)
		require.ErrorAs(t, err, &content, bad)
		require.Equal(t, "stream", content.MsgType)
	}
}

func TestConnectionFilesOfAllKinds(t *testing.T) {
	info, err := ParseConnection([]byte(`{"shell_port": "5001", "iopub_port": 5002, "stdin_port": 3, "control_port": 4, "hb_port": 5,
		"ip": "127.0.0.1", "key": "k", "transport": "tcp", "signature_scheme": "hmac-sha256", "kernel_name": "x", "other": []}`))
	require.NoError(t, err)
	network, address := info.Address(Shell)
	require.Equal(t, "tcp 127.0.0.1:5001", network+" "+address)
	info, err = ParseConnection([]byte(`{"shell_port": 1, "ip": "/run/k", "transport": "ipc"}`))
	require.NoError(t, err)
	network, address = info.Address(Shell)
	require.Equal(t, "unix /run/k-1", network+" "+address)
	_, err = ParseConnection([]byte(`{"curve_publickey": "x", "shell_port": 1}`))
	require.ErrorIs(t, err, ErrCurve)
	for _, bad := range []string{``, `[]`, `{"shell_port": "x"}`, `{"shell_port": 70000}`, `{"shell_port": -1}`, `{"transport": "pigeon"}`} {
		_, err := ParseConnection([]byte(bad))
		require.Error(t, err, bad)
	}
}

func TestKernelSpecsExpand(t *testing.T) {
	spec, err := ParseKernelSpec([]byte(`{"argv": ["python", "{connection_file}", "{odd}", "x{prefix}y"], "display_name": "d", "language": "l",
		"env": {"A": "${HOME}/a", "B": "$NONE", "C": "$HOME$HOME"}}`))
	require.NoError(t, err)
	require.Equal(t, "signal", spec.InterruptMode)
	require.Equal(t, []string{"python", "/f", "{odd}", "x/py"},
		spec.ExpandArgv(map[string]string{"connection_file": "/f", "prefix": "/p"}))
	require.Equal(t, map[string]string{"A": "/h/a", "B": "$NONE", "C": "/h/h"}, spec.ExpandEnv(map[string]string{"HOME": "/h"}))
	for _, bad := range []string{``, `{}`, `{"argv": []}`, `{"argv": ["x"], "interrupt_mode": "shout"}`} {
		_, err := ParseKernelSpec([]byte(bad))
		require.Error(t, err, bad)
	}
}

func TestDescribeIsOneBoundedLine(t *testing.T) {
	m, err := NewSession("").New(Shell, &ExecuteRequest{Code: strings.Repeat("é\n\x1b[31m", 10_000)})
	require.NoError(t, err)
	line := Describe("->", m)
	require.NotContains(t, line, "\n")
	require.NotContains(t, line, "\x1b")
	require.Less(t, len(line), 500)
	require.Contains(t, line, "execute_request")
}

func TestNumbersThatJSONCannotHoldAreRefusedWhenWritten(t *testing.T) {
	_, err := NewSession("").New(Shell, &UsageReply{KernelCPU: math.NaN()})
	require.ErrorContains(t, err, "usage_reply")
}
