package envd_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/server/e2b/envd/envdpb"
)

// envelope is a message of a stream that says it is so long.
func envelope(flags byte, size uint32, text string) io.Reader {
	header := append([]byte{flags}, binary.BigEndian.AppendUint32(nil, size)...)
	return io.MultiReader(bytes.NewReader(header), strings.NewReader(text))
}

func TestMalformedCallsAreAnsweredInTheirForm(t *testing.T) {
	onLocal(t, func(w *world) {
		for _, body := range []string{"", "{", "[]", `{"path":1}`, `{"path":"a","path":"b"}`, "\xff", `{"path":"\ud800"}`} {
			got := w.do("POST", "/filesystem.Filesystem/Stat", strings.NewReader(body), "Content-Type", "application/json")
			require.Equal(t, 400, got.StatusCode, body)
			require.Contains(t, got.body, `"code":"invalid_argument"`, body)
		}
		got := w.do("POST", "/filesystem.Filesystem/Stat", strings.NewReader(`{"path":"","unknown":[1,{}]}`), "Content-Type", "application/json")
		require.Equal(t, 200, got.StatusCode, got.body)
		got = w.do("POST", "/filesystem.Filesystem/Stat", strings.NewReader("\xff\xff"), "Content-Type", "application/proto")
		require.Equal(t, 400, got.StatusCode)
		got = w.do("POST", "/filesystem.Filesystem/Stat", io.LimitReader(zeros{}, 17<<20), "Content-Type", "application/json")
		require.Equal(t, 429, got.StatusCode, "it is read to a bound only")
		require.Equal(t, 404, w.do("POST", "/filesystem.Filesystem/Format", strings.NewReader("{}"), "Content-Type", "application/json").StatusCode)
		require.Equal(t, 415, w.do("POST", "/filesystem.Filesystem/Stat", strings.NewReader("{}"), "Content-Type", "text/html").StatusCode)

		stream := []string{"Content-Type", "application/connect+json", "Connect-Protocol-Version", "1"}
		for name, body := range map[string]io.Reader{
			"nothing": strings.NewReader(""), "no JSON": envelope(0, 3, "abc"), "too short": envelope(0, 100, "{}"),
			"4 GB": envelope(0, 1<<32-1, "{}"), "compressed and not": envelope(1, 2, "{}"), "a part": strings.NewReader("\x00\x00"),
			"unknown flags": envelope(0x80, 2, "{}"), "two messages": io.MultiReader(envelope(0, 2, "{}"), envelope(0, 2, "{}")),
		} {
			got := w.do("POST", "/process.Process/Start", body, stream...)
			require.Equal(t, 200, got.StatusCode, name)
			require.Equal(t, byte(2), got.body[0], "%s: an end and nothing else: %q", name, got.body)
			require.Contains(t, got.body, `"error":{"code":"`, name)
		}
	})
}

// zeros has no end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// raw sends a request head and the beginning of its body, and returns the connection.
func (w *world) raw(head, body string) net.Conn {
	w.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	require.NoError(w.t, err)
	_, err = fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\nX-Access-Token: %s\r\n%s", head, w.token, body)
	require.NoError(w.t, err)
	return conn
}

func TestAnUploadThatBreaksOffLeavesTheOldFile(t *testing.T) {
	onBoth(t, func(w *world) {
		w.put("kept", "old")
		conn := w.raw("POST /files?path=kept", "Content-Type: application/octet-stream\r\nContent-Length: 1000000\r\n\r\n"+strings.Repeat("x", 500_000))
		require.NoError(w.t, conn.Close())
		conn = w.raw("POST /files?path=kept", "Content-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n")
		status := make([]byte, 12)
		_, err := io.ReadFull(conn, status)
		require.NoError(w.t, err)
		require.Equal(w.t, "HTTP/1.1 400", string(status))
		require.NoError(w.t, conn.Close())
		require.Equal(w.t, "old", w.get("/files?path=kept").body)
		require.Eventually(w.t, func() bool { return w.run("ls -A | sort").stdout == "kept\n" }, 20*time.Second, 20*time.Millisecond)
	})
}

func TestAClientThatNeverReadsHoldsUpNobodyElse(t *testing.T) {
	onBoth(t, func(w *world) {
		ctx := testContext(w.t)
		request := `{"process":{"cmd":"/bin/sh","args":["-c","echo $$; exec yes"]},"tag":"flood"}`
		body := fmt.Sprintf("Content-Type: application/connect+json\r\nConnect-Protocol-Version: 1\r\nContent-Length: %d\r\n\r\n%s", 5+len(request),
			string(append([]byte{0}, binary.BigEndian.AppendUint32(nil, uint32(len(request)))...))+request)
		conn := w.raw("POST /process.Process/Start", body)
		defer func() { _ = conn.Close() }()
		require.Eventually(w.t, func() bool {
			list, err := w.processes().List(ctx, connect.NewRequest(&envdpb.ListRequest{}))
			require.NoError(w.t, err)
			return len(list.Msg.Processes) == 1
		}, 20*time.Second, 10*time.Millisecond)
		require.Equal(w.t, "fine\n", w.run("echo fine").stdout)
		_, err := w.processes().SendSignal(ctx, connect.NewRequest(&envdpb.SendSignalRequest{Process: byTag("flood"), Signal: 9}))
		require.NoError(w.t, err)
		require.NoError(w.t, w.member.Kill(ctx), "its stream keeps nothing alive")
	})
}

func TestClientsThatVanishLeaveNothing(t *testing.T) {
	onLocal(t, func(w *world) {
		w.put("big", strings.Repeat("0123456789", 1<<20))
		w.run("mkdir -p watched")
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				ctx, leave := context.WithTimeout(context.Background(), time.Duration(i)*5*time.Millisecond)
				defer leave()
				stream, err := w.files().WatchDir(ctx, connect.NewRequest(&envdpb.WatchDirRequest{Path: "watched"}))
				if err == nil {
					for stream.Receive() {
					}
					_ = stream.Close()
				}
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/files?path=big", nil)
				if err != nil {
					return
				}
				r.Header = w.header()
				if response, err := http.DefaultClient.Do(r); err == nil {
					_, _ = io.Copy(io.Discard, response.Body)
					_ = response.Body.Close()
				}
			})
		}
		wg.Wait()
		require.Equal(t, "fine\n", w.run("echo fine").stdout)
	})
}

func TestManyCommandsAtOnce(t *testing.T) {
	onBoth(t, func(w *world) {
		ctx := testContext(w.t)
		const many = 40
		results, errs := make([]string, many), make([]error, many)
		var wg sync.WaitGroup
		for i := range many {
			wg.Go(func() {
				stream, err := w.processes().Start(ctx, connect.NewRequest(&envdpb.StartRequest{
					Process: &envdpb.ProcessConfig{Cmd: "/bin/sh", Args: []string{"-c", fmt.Sprint("echo ", i)}},
				}))
				if err != nil {
					errs[i] = err
					return
				}
				defer func() { _ = stream.Close() }()
				defer func() { errs[i] = stream.Err() }()
				for stream.Receive() {
					results[i] += string(stream.Msg().GetEvent().GetData().GetStdout())
				}
			})
		}
		wg.Wait()
		for i, got := range results {
			require.NoError(w.t, errs[i])
			require.Equal(w.t, fmt.Sprintln(i), got)
		}
	})
}
