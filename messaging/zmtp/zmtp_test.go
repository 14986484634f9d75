package zmtp_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ds-sandbox/ds-sandbox/messaging/zmtp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair connects a client and a kernel side.
func pair(t *testing.T, client, server *zmtp.Options) (*zmtp.Conn, *zmtp.Conn) {
	t.Helper()
	address := filepath.Join(t.TempDir(), "s")
	l, err := zmtp.Listen("unix", address, server)
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	accepted := make(chan *zmtp.Conn, 1)
	go func() {
		c, err := l.AcceptConn(context.Background())
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	a, err := zmtp.Dial(t.Context(), "unix", address, client)
	require.NoError(t, err)
	b := <-accepted
	t.Cleanup(func() { _ = a.Close(); _ = b.Close() })
	return a, b
}

func TestMessagesOfAllSizesPass(t *testing.T) {
	a, b := pair(t, &zmtp.Options{Type: "DEALER", Identity: "me"}, &zmtp.Options{Type: "ROUTER"})
	require.Equal(t, "me", b.PeerIdentity())
	for _, size := range []int{0, 1, 255, 256, 4096, 70_000, 5 << 20} {
		want := [][]byte{{}, []byte(strings.Repeat("x", size)), []byte("end")}
		sent := make(chan error, 1)
		go func() { sent <- a.WriteMessage(context.Background(), want) }()
		got, err := b.ReadMessage()
		require.NoError(t, err)
		require.NoError(t, <-sent)
		require.Equal(t, want, got)
	}
	require.NoError(t, a.Close())
	_, err := b.ReadMessage()
	require.ErrorIs(t, err, io.EOF)
}

func TestMessageOverTheLimitIsSkippedOnWish(t *testing.T) {
	a, b := pair(t, &zmtp.Options{Type: "DEALER"}, &zmtp.Options{Type: "ROUTER", MaxFrame: 100_000, SkipOversize: true})
	go func() {
		for _, frames := range [][][]byte{
			{[]byte("topic"), make([]byte, 1_000_000), []byte("end")},
			{[]byte("topic"), make([]byte, 60_000), make([]byte, 60_000)},
			{[]byte("next")},
			{make([]byte, 1_600_001)},
		} {
			_ = a.WriteMessage(context.Background(), frames) // the last is refused
		}
	}()
	var skipped *zmtp.SkippedError
	_, err := b.ReadMessage()
	require.ErrorAs(t, err, &skipped)
	require.Equal(t, [][]byte{[]byte("topic")}, skipped.Frames)
	require.Equal(t, int64(1_000_008), skipped.Size)
	_, err = b.ReadMessage()
	require.ErrorAs(t, err, &skipped)
	require.Equal(t, int64(120_005), skipped.Size)
	frames, err := b.ReadMessage()
	require.NoError(t, err)
	require.Equal(t, [][]byte{[]byte("next")}, frames)
	_, err = b.ReadMessage()
	require.ErrorIs(t, err, zmtp.ErrTooLarge, "what is no output that became too large")
	require.NoError(t, b.Close())
}

func TestManySmallMessagesKeepTheirOrder(t *testing.T) {
	a, b := pair(t, &zmtp.Options{Type: "DEALER"}, &zmtp.Options{Type: "ROUTER"})
	const n = 20_000
	go func() {
		for i := range n {
			if err := a.WriteMessage(context.Background(), [][]byte{binary.BigEndian.AppendUint32(nil, uint32(i)), []byte("payload")}); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for i := range n {
		frames, err := b.ReadMessage()
		require.NoError(t, err)
		require.Len(t, frames, 2)
		require.Equal(t, uint32(i), binary.BigEndian.Uint32(frames[0]))
	}
}

func TestWriteToAPeerThatDoesNotReadEndsWithItsContext(t *testing.T) {
	a, _ := pair(t, &zmtp.Options{Type: "DEALER"}, &zmtp.Options{Type: "ROUTER"})
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, errors.New("enough"))
	defer cancel()
	err := a.WriteMessage(ctx, [][]byte{make([]byte, 50<<20)})
	require.ErrorContains(t, err, "enough")
	require.Error(t, a.WriteMessage(t.Context(), [][]byte{{1}}), "nothing can follow half a message")
}

func TestCancelledContextWritesNothing(t *testing.T) {
	a, b := pair(t, &zmtp.Options{Type: "DEALER"}, &zmtp.Options{Type: "ROUTER"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, a.WriteMessage(ctx, [][]byte{{1}}), context.Canceled)
	require.NoError(t, a.WriteMessage(t.Context(), [][]byte{{2}}))
	got, err := b.ReadMessage()
	require.NoError(t, err)
	require.Equal(t, [][]byte{{2}}, got)
}

func TestIncompatibleSocketsAreRefused(t *testing.T) {
	address := filepath.Join(t.TempDir(), "s")
	l, err := zmtp.Listen("unix", address, &zmtp.Options{Type: "PUB"})
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	go func() { _, _ = l.AcceptConn(context.Background()) }()
	_, err = zmtp.Dial(t.Context(), "unix", address, &zmtp.Options{Type: "DEALER"})
	require.ErrorContains(t, err, "compatible")
}

func TestUnknownSocketTypeIsRefused(t *testing.T) {
	for _, kind := range []string{"EVIL", "", "\x00"} {
		_, err := raw(t, &zmtp.Options{Type: "DEALER"}, func(c net.Conn) {
			_, _ = c.Write(append(greeting(), ready(kind)...))
			_, _ = io.Copy(io.Discard, c)
		})
		require.ErrorIs(t, err, zmtp.ErrHandshake, "%q", kind)
	}
}

// raw connects a zmtp.Conn to bytes that a test writes; shake does the kernel's side of the handshake first.
func raw(t *testing.T, opts *zmtp.Options, peer func(net.Conn)) (*zmtp.Conn, error) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		peer(conn)
	}()
	c, err := zmtp.Dial(t.Context(), "unix", l.Addr().String(), opts)
	if c != nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

func greeting() []byte {
	b := make([]byte, 64)
	b[0], b[9], b[10] = 0xff, 0x7f, 3
	copy(b[12:], "NULL")
	return b
}

func ready(kind string) []byte {
	body := append([]byte("\x05READY\x0bSocket-Type\x00\x00\x00"), byte(len(kind)))
	body = append(body, kind...)
	return append([]byte{0x04, byte(len(body))}, body...)
}

// shake does the handshake of a kernel's ROUTER and then says more.
func shake(more func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		if _, err := c.Write(append(greeting(), ready("ROUTER")...)); err != nil {
			return
		}
		_, _ = io.ReadFull(c, make([]byte, 64+2+40)) // greeting and the beginning of READY
		more(c)
	}
}

func TestAnnouncedSizesCostNothing(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, size := range []uint64{1 << 62, 1 << 63, 1<<64 - 1, 1 << 40, zmtp.DefaultMaxFrame + 1} {
		c, err := raw(t, &zmtp.Options{Type: "DEALER"}, shake(func(c net.Conn) {
			_, _ = c.Write(binary.BigEndian.AppendUint64([]byte{0x02}, size))
			_, _ = io.Copy(io.Discard, c)
		}))
		require.NoError(t, err)
		_, err = c.ReadMessage()
		require.ErrorIs(t, err, zmtp.ErrTooLarge)
		_ = c.Close()
	}
	// Within the limit, but nothing comes.
	c, err := raw(t, &zmtp.Options{Type: "DEALER"}, shake(func(c net.Conn) {
		_, _ = c.Write(binary.BigEndian.AppendUint64([]byte{0x02}, 200<<20))
	}))
	require.NoError(t, err)
	_, err = c.ReadMessage()
	require.Error(t, err)
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(20<<20))
}

func TestMessageOfEndlessFramesIsRefused(t *testing.T) {
	c, err := raw(t, &zmtp.Options{Type: "DEALER"}, shake(func(c net.Conn) {
		frames := []byte(strings.Repeat("\x01\x01x", 100_000))
		_, _ = c.Write(frames)
	}))
	require.NoError(t, err)
	_, err = c.ReadMessage()
	require.ErrorIs(t, err, zmtp.ErrTooLarge)
}

func TestPingsAreAnsweredAndAFloodOfThemHarmsNobody(t *testing.T) {
	pong := make(chan string, 1)
	c, err := raw(t, &zmtp.Options{Type: "DEALER"}, func(c net.Conn) {
		_, _ = c.Write(append(greeting(), ready("ROUTER")...))
		_, _ = c.Write([]byte("\x04\x0a\x04PING\x00\x0aabc"))
		seen := ""
		b := make([]byte, 1024)
		for !strings.Contains(seen, "\x04PONGabc") {
			n, err := c.Read(b)
			if err != nil {
				break
			}
			seen += string(b[:n])
		}
		pong <- seen
		for range 200_000 { // and never read again
			if _, err := c.Write([]byte("\x04\x0a\x04PING\x00\x0aabc")); err != nil {
				return
			}
		}
		_, _ = c.Write([]byte("\x00\x04done"))
		_, _ = c.Read(b)
	})
	require.NoError(t, err)
	frames, err := c.ReadMessage()
	require.Contains(t, <-pong, "\x04PONGabc")
	require.NoError(t, err)
	require.Equal(t, [][]byte{[]byte("done")}, frames)
}

func TestBadHandshakesEndInAnError(t *testing.T) {
	for name, say := range map[string]string{
		"nothing then end": "", "half a greeting": string(greeting()[:30]), "another protocol": "HTTP/1.1 400 Bad Request\r\n\r\n" + strings.Repeat(" ", 64),
		"ZMTP 2":             string(append(greeting()[:10], append([]byte{1}, greeting()[11:]...)...)),
		"READY of 2^62":      string(greeting()) + "\x06\x40\x00\x00\x00\x00\x00\x00\x00",
		"READY of 9 KiB":     string(greeting()) + "\x06\x00\x00\x00\x00\x00\x00\x24\x00" + strings.Repeat("x", 9<<10),
		"property of 2^31":   string(greeting()) + "\x04\x16\x05READY\x0bSocket-Type\x7f\xff\xff\xff",
		"property cut short": string(greeting()) + "\x04\x08\x05READY\x0bS",
		"name past the end":  string(greeting()) + "\x04\x02\x40R",
		"empty command":      string(greeting()) + "\x04\x00",
		"message too early":  string(greeting()) + "\x00\x05READY",
		"other command":      string(greeting()) + "\x04\x06\x05ERROR",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := raw(t, &zmtp.Options{Type: "DEALER", HandshakeTimeout: 5 * time.Second}, func(c net.Conn) { _, _ = c.Write([]byte(say)) })
			require.Error(t, err)
		})
	}
	start := time.Now()
	_, err := raw(t, &zmtp.Options{Type: "DEALER", HandshakeTimeout: 50 * time.Millisecond}, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "silence")
	require.Less(t, time.Since(start), 5*time.Second)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("never mind"))
	_, err = zmtp.Dial(ctx, "unix", filepath.Join(t.TempDir(), "none"), &zmtp.Options{Type: "DEALER"})
	require.Error(t, err)
}

// libzmqPeer binds a socket with pyzmq and echoes one message of each size, or publishes it.
const libzmqPeer = `
import sys, zmq
kind, address = sys.argv[1], sys.argv[2]
context = zmq.Context()
s = context.socket(getattr(zmq, kind))
s.bind("ipc://" + address)
print("up", flush=True)
if kind == "ROUTER":
    while True:
        frames = s.recv_multipart()
        s.send_multipart(frames)
        if frames[-1] == b"bye":
            break
else:
    assert s.recv() == b"\x01topic"
    for size in (0, 255, 256, 100_000, 3_000_000):
        s.send_multipart([b"other", b"no"])
        s.send_multipart([b"topic", b"z" * size])
s.close(10_000)
context.term()
`

func TestRealLibzmqUnderstandsUs(t *testing.T) {
	python := ""
	for _, candidate := range append(filepath.SplitList(os.Getenv("DS_SANDBOX_TEST_PYTHONS")), os.Getenv("DS_SANDBOX_PYTHON"), "python3", "/usr/bin/python3") {
		if candidate != "" && exec.Command(candidate, "-c", "import zmq").Run() == nil {
			python = candidate
			break
		}
	}
	if python == "" {
		if strings.Contains(os.Getenv("DS_SANDBOX_REQUIRE"), "python") {
			t.Fatal("no Python with pyzmq")
		}
		t.Skip("no Python with pyzmq")
	}
	connect := func(t *testing.T, kind string, opts *zmtp.Options) *zmtp.Conn {
		address := filepath.Join(t.TempDir(), "s")
		peer := exec.Command(python, "-c", libzmqPeer, kind, address)
		peer.Stderr = os.Stderr
		out, err := peer.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, peer.Start())
		t.Cleanup(func() { _ = peer.Process.Kill(); _ = peer.Wait() })
		_, err = io.ReadFull(out, make([]byte, 3))
		require.NoError(t, err)
		c, err := zmtp.Dial(t.Context(), "unix", address, opts)
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	t.Run("ROUTER", func(t *testing.T) {
		c := connect(t, "ROUTER", &zmtp.Options{Type: "DEALER", Identity: "go"})
		for _, size := range []int{0, 255, 256, 100_000, 3_000_000} {
			want := [][]byte{{}, []byte(strings.Repeat("z", size)), {}, []byte("end")}
			sent := make(chan error, 1)
			go func() { sent <- c.WriteMessage(context.Background(), want) }()
			got, err := c.ReadMessage()
			require.NoError(t, err)
			require.NoError(t, <-sent)
			require.Equal(t, want, got)
		}
		require.NoError(t, c.WriteMessage(t.Context(), [][]byte{[]byte("bye")}))
		_, err := c.ReadMessage()
		require.NoError(t, err)
	})
	t.Run("XPUB", func(t *testing.T) {
		c := connect(t, "XPUB", &zmtp.Options{Type: "SUB"})
		require.NoError(t, c.Subscribe(t.Context(), "topic"))
		for _, size := range []int{0, 255, 256, 100_000, 3_000_000} {
			got, err := c.ReadMessage()
			require.NoError(t, err)
			require.Equal(t, "topic", string(got[0]))
			require.Len(t, got[1], size)
		}
	})
}
