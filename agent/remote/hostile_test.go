package remote_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/agent/remote"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// liar is an agent that hostile code plays. What a test does not set, it does as an agent does.
type liar struct {
	agentpb.UnimplementedHostHandler
	agentpb.UnimplementedKernelHandler
	agentpb.UnimplementedProcessHandler
	agentpb.UnimplementedFilesystemHandler

	hello    *agentpb.HelloResponse
	kernel   *agentpb.KernelInfo
	relay    func(ctx context.Context, stream *connect.BidiStream[agentpb.RelayRequest, agentpb.RelayResponse]) error
	list     func(stream *connect.ServerStream[agentpb.ListDirResponse]) error
	read     func(ctx context.Context) (*agentpb.ReadResponse, error)
	stats    func(ctx context.Context) error
	plain    http.HandlerFunc
	entry    *agentpb.EntryInfo
	everyone func(w http.ResponseWriter, r *http.Request) bool // true when it has answered
}

const liarsKey = "liar"

func newLiar() *liar {
	return &liar{
		hello:  &agentpb.HelloResponse{Protocol: agentpb.Protocol, Boot: "boot"},
		kernel: &agentpb.KernelInfo{Id: "1", Pid: 2, Key: liarsKey, SignatureScheme: "hmac-sha256", Spec: &agentpb.KernelSpec{Name: "python3", Json: `{"argv":["python"]}`}},
	}
}

func (l *liar) Hello(context.Context, *connect.Request[agentpb.HelloRequest]) (*connect.Response[agentpb.HelloResponse], error) {
	return connect.NewResponse(l.hello), nil
}

func (l *liar) Configure(context.Context, *connect.Request[agentpb.ConfigureRequest]) (*connect.Response[agentpb.ConfigureResponse], error) {
	return connect.NewResponse(&agentpb.ConfigureResponse{Workspace: "/home/user"}), nil
}

func (l *liar) Heartbeat(context.Context, *connect.Request[agentpb.HeartbeatRequest]) (*connect.Response[agentpb.HeartbeatResponse], error) {
	return connect.NewResponse(&agentpb.HeartbeatResponse{}), nil
}

func (l *liar) Stats(ctx context.Context, _ *connect.Request[agentpb.StatsRequest]) (*connect.Response[agentpb.StatsResponse], error) {
	if err := l.stats(ctx); err != nil {
		return nil, err
	}
	return connect.NewResponse(&agentpb.StatsResponse{}), nil
}

func (l *liar) StartKernel(context.Context, *connect.Request[agentpb.StartKernelRequest]) (*connect.Response[agentpb.KernelInfo], error) {
	return connect.NewResponse(l.kernel), nil
}

func (l *liar) Relay(ctx context.Context, stream *connect.BidiStream[agentpb.RelayRequest, agentpb.RelayResponse]) error {
	return l.relay(ctx, stream)
}

func (l *liar) Spawn(context.Context, *connect.Request[agentpb.StartRequest]) (*connect.Response[agentpb.SpawnResponse], error) {
	return connect.NewResponse(&agentpb.SpawnResponse{Pid: 5, Process: 1}), nil
}

func (l *liar) Read(ctx context.Context, _ *connect.Request[agentpb.ReadRequest]) (*connect.Response[agentpb.ReadResponse], error) {
	answer, err := l.read(ctx)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(answer), nil
}

func (l *liar) Stat(context.Context, *connect.Request[agentpb.StatRequest]) (*connect.Response[agentpb.StatResponse], error) {
	return connect.NewResponse(&agentpb.StatResponse{Entry: l.entry}), nil
}

func (l *liar) ScanDir(_ context.Context, _ *connect.Request[agentpb.ListDirRequest], stream *connect.ServerStream[agentpb.ListDirResponse]) error {
	return l.list(stream)
}

// dial serves a connection, until the test is over.
func (l *liar) dialer(t *testing.T) func(context.Context) (net.Conn, error) {
	mux := http.NewServeMux()
	mux.Handle(agentpb.NewHostHandler(l))
	mux.Handle(agentpb.NewKernelHandler(l))
	mux.Handle(agentpb.NewProcessHandler(l))
	mux.Handle(agentpb.NewFilesystemHandler(l))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { l.plain(w, r) })
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if l.everyone != nil && !strings.HasSuffix(r.URL.Path, "/Hello") && !strings.HasSuffix(r.URL.Path, "/Configure") && l.everyone(w, r) {
			return
		}
		mux.ServeHTTP(w, r)
	})
	return serveRaw(t, func(conn net.Conn) {
		new(http2.Server).ServeConn(conn, &http2.ServeConnOpts{Handler: handler})
	})
}

// serveRaw has a function play the agent on each connection. It returns how to dial it.
func serveRaw(t *testing.T, play func(net.Conn)) func(context.Context) (net.Conn, error) {
	var mu sync.Mutex
	var conns []net.Conn
	var serving sync.WaitGroup
	over := false
	t.Cleanup(func() {
		mu.Lock()
		over = true
		for _, conn := range conns {
			_ = conn.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
	return func(context.Context) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		if over {
			return nil, net.ErrClosed
		}
		host, agent, err := socketPair()
		if err != nil {
			return nil, err
		}
		conns = append(conns, agent)
		serving.Go(func() {
			defer func() { _ = agent.Close() }()
			play(agent)
		})
		return host, nil
	}
}

func (l *liar) open(t *testing.T) *remote.Instance {
	t.Helper()
	client, err := remote.Open(t.Context(), l.dialer(t), &remote.Options{Patience: 300 * time.Millisecond, MaxFrame: 1 << 20})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	require.NoError(t, client.Configure(t.Context(), remote.Setup{ID: "one"}))
	return client.Instance()
}

// bounded checks that a test allocates less than so many bytes.
func bounded(t *testing.T, most uint64, do func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, most)
}

func TestOtherProtocolIsNamedWithARemedy(t *testing.T) {
	for version, remedy := range map[int32]string{agentpb.Protocol + 7: "update it", agentpb.Protocol - 1: "make the sandbox again"} {
		l := newLiar()
		l.hello.Protocol, l.hello.Build = version, "v9.9"
		_, err := remote.Open(t.Context(), l.dialer(t), &remote.Options{Build: "v1.0"})
		var mismatch *remote.VersionError
		require.ErrorAs(t, err, &mismatch)
		require.Equal(t, int(version), mismatch.Agent)
		for _, part := range []string{fmt.Sprint("protocol ", version), "v9.9", fmt.Sprint("speaks ", agentpb.Protocol), "v1.0", remedy} {
			require.ErrorContains(t, err, part)
		}
	}
}

func TestWhatIsNoAgentIsRefusedInTime(t *testing.T) {
	for name, play := range map[string]func(net.Conn){
		"hangs up": func(net.Conn) {},
		"speaks something": func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
			_, _ = io.Copy(io.Discard, c)
		},
		"never reads": func(c net.Conn) {
			_, _ = c.Write(settings())
			_, _ = c.Read(make([]byte, 1))
			<-time.After(time.Second)
		},
		"never answers": func(c net.Conn) { _, _ = c.Write(settings()); _, _ = io.Copy(io.Discard, c) },
		"pings": func(c net.Conn) {
			go func() { _, _ = io.Copy(io.Discard, c) }()
			flood(c, settings(), frame(6, 0, 0, make([]byte, 8)))
		},
		"settings": func(c net.Conn) { flood(c, settings(), settings()) },
		"huge frame": func(c net.Conn) {
			_, _ = c.Write(append(settings(), 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1))
			_, _ = io.Copy(io.Discard, c)
		},
		"endless headers": func(c net.Conn) {
			flood(c, append(settings(), frame(1, 0, 1, make([]byte, 100))...), frame(9, 0, 1, make([]byte, 16<<10)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			bounded(t, 64<<20, func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, err := remote.Open(ctx, serveRaw(t, play), nil)
				require.Error(t, err)
			})
		})
	}
}

// frame is an HTTP/2 frame.
func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	b := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return append(binary.BigEndian.AppendUint32(b, stream), payload...)
}

func settings() []byte { return frame(4, 0, 0, nil) }

// flood writes without end, and without reading.
func flood(c net.Conn, first, then []byte) {
	if _, err := c.Write(first); err != nil {
		return
	}
	for {
		if _, err := c.Write(then); err != nil {
			return
		}
	}
}

func TestRelaysThatLieEndWithAnError(t *testing.T) {
	type response = agentpb.RelayResponse
	chunk := func(c *agentpb.Chunk) *response { return &response{Chunks: []*agentpb.Chunk{c}} }
	iopub := agentpb.Channel_CHANNEL_IOPUB
	one := func(number uint64) *response {
		return chunk(&agentpb.Chunk{Number: number, Channel: iopub, Sizes: []uint32{1}, Data: []byte("x")})
	}
	for name, say := range map[string][]*response{
		"skips a number":        {one(1), one(3)},
		"repeats a number":      {one(1), one(1)},
		"begins with another":   {one(9)},
		"number 2^64-1":         {one(1<<64 - 1)},
		"more than the limit":   {chunk(&agentpb.Chunk{Number: 1, Channel: iopub, Sizes: []uint32{1<<32 - 1}, More: true})},
		"sum over the limit":    {chunk(&agentpb.Chunk{Number: 1, Channel: iopub, Sizes: []uint32{900_000, 900_000}, More: true})},
		"no frames":             {chunk(&agentpb.Chunk{Number: 1, Channel: iopub})},
		"endless frames":        {chunk(&agentpb.Chunk{Number: 1, Channel: iopub, Sizes: make([]uint32, 5000)})},
		"unknown channel":       {chunk(&agentpb.Chunk{Number: 1, Channel: 99, Sizes: []uint32{1}, Data: []byte("x")})},
		"less than announced":   {chunk(&agentpb.Chunk{Number: 1, Channel: iopub, Sizes: []uint32{9}, Data: []byte("x")})},
		"more than announced":   {chunk(&agentpb.Chunk{Number: 1, Channel: iopub, Sizes: []uint32{1}, Data: []byte("xyz")})},
		"a message in another":  {chunk(&agentpb.Chunk{Number: 1, Channel: iopub, Sizes: []uint32{9}, Data: []byte("x"), More: true}), one(1)},
		"a part of nothing":     {chunk(&agentpb.Chunk{Number: 1, Channel: iopub, Sizes: []uint32{9}, Data: []byte("x"), More: true}), chunk(&agentpb.Chunk{More: true})},
		"large part":            {chunk(&agentpb.Chunk{Number: 1, Channel: iopub, Sizes: []uint32{300 << 10}, Data: make([]byte, 300<<10)})},
		"leaves out elsewhere":  {one(1), {Dropped: &agentpb.Dropped{Number: 1, Messages: 1}}},
		"leaves out nothing":    {{Dropped: &agentpb.Dropped{Number: 1}}},
		"leaves out everything": {{Dropped: &agentpb.Dropped{Number: 1, Messages: 1<<64 - 1}}},
		"opens again":           {{Opened: &agentpb.Opened{Next: 5}}, one(5)},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLiar()
			l.relay = func(ctx context.Context, stream *connect.BidiStream[agentpb.RelayRequest, agentpb.RelayResponse]) error {
				_, _ = stream.Receive()
				_ = stream.Send(&response{Opened: &agentpb.Opened{Next: 1}})
				for _, r := range say {
					_ = stream.Send(r)
				}
				<-ctx.Done()
				return nil
			}
			k := startKernel(t, l.open(t))
			var err error
			for err == nil {
				_, err = k.wire.Recv(t.Context())
			}
			require.ErrorIs(t, err, remote.ErrProtocol)
		})
	}
}

func TestForgedMessagesAreSkippedAndAFloodOfThemIsBounded(t *testing.T) {
	l := newLiar()
	l.relay = func(_ context.Context, stream *connect.BidiStream[agentpb.RelayRequest, agentpb.RelayResponse]) error {
		_, _ = stream.Receive()
		_ = stream.Send(&agentpb.RelayResponse{Opened: &agentpb.Opened{Next: 1}})
		forged := [][]byte{[]byte("<IDS|MSG>"), []byte("00"), []byte("{}"), []byte("{}"), []byte("{}"), []byte("{}")}
		for i := range uint64(20_000) {
			chunks, err := agentpb.Split(i+1, agentpb.Channel_CHANNEL_IOPUB, forged)
			if err != nil {
				return err
			}
			if err := stream.Send(&agentpb.RelayResponse{Chunks: chunks}); err != nil {
				return err
			}
		}
		return stream.Send(&agentpb.RelayResponse{End: &agentpb.RelayEnd{}})
	}
	k := startKernel(t, l.open(t))
	_, err := k.wire.Recv(t.Context())
	require.ErrorIs(t, err, io.EOF)
}

func TestRelayThatNeverReadsHoldsNobodyUp(t *testing.T) {
	l := newLiar()
	l.relay = func(ctx context.Context, stream *connect.BidiStream[agentpb.RelayRequest, agentpb.RelayResponse]) error {
		_, _ = stream.Receive()
		_ = stream.Send(&agentpb.RelayResponse{Opened: &agentpb.Opened{Next: 1}})
		<-ctx.Done()
		return nil
	}
	k := startKernel(t, l.open(t))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	go func() { // reads, so that a broken stream is opened again
		for {
			if _, err := k.wire.Recv(context.Background()); err != nil {
				return
			}
		}
	}()
	var err error
	for range 1000 {
		m, newErr := k.session.New("shell", &anything{Data: strings.Repeat("x", 200<<10)})
		require.NoError(t, newErr)
		if err = k.wire.Send(ctx, m); err != nil {
			break
		}
	}
	require.ErrorIs(t, err, context.DeadlineExceeded)
	begin := time.Now()
	require.NoError(t, k.wire.Close())
	require.Less(t, time.Since(begin), 5*time.Second)
}

type anything struct {
	Data string `json:"data"`
}

func (*anything) MsgType() string { return "anything" }

func TestAnswersThatLieAreErrors(t *testing.T) {
	l := newLiar()
	in := l.open(t)
	ctx := t.Context()
	for name, entry := range map[string]*agentpb.EntryInfo{
		"none": nil, "outside": {Name: "passwd", Path: "/etc/passwd", Type: 1}, "dots": {Name: "x", Path: "/home/user/../x", Type: 1},
		"other name": {Name: "../../x", Path: "/home/user/a", Type: 1}, "type": {Name: "a", Path: "/home/user/a", Type: 77},
		"size": {Name: "a", Path: "/home/user/a", Type: 1, Size: -1}, "sibling": {Name: "a", Path: "/home/user2/a", Type: 77},
	} {
		l.entry = entry
		_, err := in.Files().Stat(ctx, "a")
		require.ErrorIs(t, err, remote.ErrProtocol, name)
	}
	l.list = func(stream *connect.ServerStream[agentpb.ListDirResponse]) error {
		many := new(agentpb.ListDirResponse)
		for range 500 {
			many.Entries = append(many.Entries, &agentpb.EntryInfo{Name: "a", Path: "/home/user/a", Type: 1})
		}
		for {
			if err := stream.Send(many); err != nil {
				return err
			}
		}
	}
	_, err := in.Files().List(ctx, "", 1)
	require.ErrorIs(t, err, remote.ErrProtocol, "an endless listing")
	c, err := in.StartCommand(ctx, backends.Cmd{Args: []string{"x"}})
	require.NoError(t, err)
	l.read = func(context.Context) (*agentpb.ReadResponse, error) {
		return &agentpb.ReadResponse{Data: make([]byte, 1<<20)}, nil
	}
	_, err = io.ReadAll(c.Stdout())
	require.ErrorIs(t, err, remote.ErrProtocol, "more than asked for")
	l.read = func(context.Context) (*agentpb.ReadResponse, error) {
		return &agentpb.ReadResponse{Data: make([]byte, 8<<20)}, nil
	}
	_, err = io.ReadAll(c.Stderr())
	require.Error(t, err, "more than any message")
	for name, kernel := range map[string]*agentpb.KernelInfo{
		"empty": {}, "scheme": {Id: "1", Pid: 2, SignatureScheme: "none of these", Spec: l.kernel.Spec},
		"spec": {Id: "1", Pid: 2, SignatureScheme: "hmac-sha256", Spec: &agentpb.KernelSpec{Json: "{"}},
		"pid":  {Id: "1", Pid: -1, SignatureScheme: "hmac-sha256", Key: "k", Spec: l.kernel.Spec},
	} {
		l.kernel = kernel
		_, err := in.StartKernel(ctx, backends.KernelConfig{})
		require.ErrorIs(t, err, remote.ErrProtocol, name)
	}
	// An error is shown, and not all of it.
	l.stats = func(context.Context) error {
		return connect.NewError(connect.CodeInternal, fmt.Errorf("%s", strings.Repeat("long ", 1<<18)))
	}
	_, err = in.Stats(ctx)
	require.Error(t, err)
	require.Less(t, len(err.Error()), 20<<10)
	l.everyone = func(w http.ResponseWriter, _ *http.Request) bool {
		for i := range 100 {
			w.Header().Set(fmt.Sprint("H", i), strings.Repeat("x", 10<<10))
		}
		return true
	}
	_, err = in.Stats(ctx)
	require.Error(t, err, "huge headers")
}

func TestContentsThatLieAreErrors(t *testing.T) {
	l := newLiar()
	in := l.open(t)
	read := func(opts *backends.OpenOptions) error {
		r, err := in.Files().Open(t.Context(), "f", opts)
		if err != nil {
			return err
		}
		defer func() { _ = r.Close() }()
		_, err = io.Copy(io.Discard, r)
		return err
	}
	l.plain = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "half") }
	require.ErrorIs(t, read(nil), remote.ErrProtocol, "no end")
	l.plain = func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}
	require.ErrorIs(t, read(&backends.OpenOptions{Length: 1 << 20}), remote.ErrProtocol, "endless")
	l.plain = func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }
	require.ErrorIs(t, read(nil), remote.ErrProtocol, "dies")
	l.plain = func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusConflict)
		_, _ = w.Write(make([]byte, 10<<20))
	}
	require.ErrorIs(t, read(nil), remote.ErrProtocol, "an endless refusal")
	l.plain = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(http.TrailerPrefix+agentpb.EndHeader, "1")
		w.Header().Set(agentpb.SizeHeader, "-1")
	}
	_, err := in.Files().Write(t.Context(), "f", strings.NewReader("x"), nil)
	require.ErrorIs(t, err, remote.ErrProtocol, "size")
	l.plain = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = in.Files().Write(ctx, "f", strings.NewReader(strings.Repeat("x", 20<<20)), nil)
	require.ErrorIs(t, err, context.DeadlineExceeded, "never reads")
}

func TestConnectionThatDiesInEveryAnswerIsGivenUp(t *testing.T) {
	l := newLiar()
	in := l.open(t)
	l.everyone = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Connection", "close") // HTTP/2 takes it for the end of the connection
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	_, err := in.Stats(t.Context())
	require.Error(t, err)
}
