package remote_test

import (
	"context"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/agent/remote"
	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
)

// preface is what a host says first, by HTTP/2.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// TestHostsThatFloodHarmNobody has bad hosts at a daemon while a good one works.
func TestHostsThatFloodHarmNobody(t *testing.T) {
	f := newFar(t, backendtest.Pythons(t)[0])
	near := openNear(t, f, nil, remote.Setup{NoForkServer: true})
	k := startKernel(t, near.in)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	hello := append([]byte(preface), settings()...)
	var bad sync.WaitGroup
	for _, play := range []func(net.Conn){
		func(c net.Conn) { flood(c, hello, frame(6, 0, 0, make([]byte, 8))) }, // pings
		func(c net.Conn) { flood(c, hello, settings()) },                      //
		func(c net.Conn) {
			flood(c, slices.Concat(hello, frame(1, 0, 1, []byte{0x82})), frame(9, 0, 1, make([]byte, 16<<10)))
		}, // headers
		func(c net.Conn) { flood(c, hello, []byte("garbage")) }, //
		func(c net.Conn) {
			_, _ = c.Write(slices.Concat(hello, []byte{0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1}))
			_, _ = io.Copy(io.Discard, c)
		},
		func(c net.Conn) { // streams that are reset at once
			stream := uint32(1)
			_, _ = c.Write(hello)
			for {
				request := append(frame(1, 4, stream, []byte{0x83, 0x86, 0x84, 0x41, 0x01, 'a'}), frame(3, 0, stream, make([]byte, 4))...)
				if _, err := c.Write(request); err != nil {
					return
				}
				stream += 2
			}
		},
	} {
		conn, err := f.dial(t.Context())
		require.NoError(t, err)
		time.AfterFunc(2*time.Second, func() { _ = conn.Close() })
		bad.Go(func() { play(conn) })
	}
	for range 20 {
		require.Equal(t, "2\n", k.run("print(1+1)").text)
	}
	bad.Wait()
	runtime.GC()
	runtime.ReadMemStats(&after)
	require.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(64<<20))
	require.Equal(t, "3\n", k.run("print(1+2)").text)
}

// rawClient speaks to a daemon without the care of package remote.
func rawClient(t *testing.T, f *far) agentpb.KernelClient {
	t.Helper()
	return agentpb.NewKernelClient(remote.RawClient(t.Context(), f.dial), "http://agent")
}

func TestRequestsThatLieAreRefused(t *testing.T) {
	f := newFar(t, backendtest.Pythons(t)[0])
	in := openNear(t, f, nil, remote.Setup{NoForkServer: true}).in
	process, err := in.StartKernel(t.Context(), backends.KernelConfig{})
	require.NoError(t, err)
	client := rawClient(t, f)
	shell := agentpb.Channel_CHANNEL_SHELL
	send := func(c *agentpb.Chunk) *agentpb.RelayRequest {
		return &agentpb.RelayRequest{Event: &agentpb.RelayRequest_Chunk{Chunk: c}}
	}
	open := &agentpb.RelayRequest{Event: &agentpb.RelayRequest_Open{Open: &agentpb.OpenRelay{Kernel: process.ID(), Client: "x"}}}
	for name, say := range map[string][]*agentpb.RelayRequest{
		"no open":           {send(&agentpb.Chunk{Number: 1, Channel: shell, Sizes: []uint32{1}, Data: []byte("x")})},
		"nothing":           {{}},
		"unknown kernel":    {{Event: &agentpb.RelayRequest_Open{Open: &agentpb.OpenRelay{Kernel: "99"}}}},
		"two opens":         {open, open},
		"a number too high": {open, send(&agentpb.Chunk{Number: 7, Channel: shell, Sizes: []uint32{1}, Data: []byte("x")})},
		"on iopub":          {open, send(&agentpb.Chunk{Number: 1, Channel: agentpb.Channel_CHANNEL_IOPUB, Sizes: []uint32{1}, Data: []byte("x")})},
		"4 GiB":             {open, send(&agentpb.Chunk{Number: 1, Channel: shell, Sizes: []uint32{1<<32 - 1}, More: true})},
		"no frames":         {open, send(&agentpb.Chunk{Number: 1, Channel: shell})},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		stream := client.Relay(ctx)
		for _, request := range say {
			_ = stream.Send(request)
		}
		var err error
		for err == nil {
			_, err = stream.Receive()
		}
		require.NotErrorIs(t, err, context.DeadlineExceeded, name)
		require.Contains(t, []connect.Code{connect.CodeInvalidArgument, connect.CodeNotFound}, connect.CodeOf(err), "%s: %v", name, err)
		cancel()
		_ = stream.CloseRequest()
		_ = stream.CloseResponse()
	}
	_, err = client.StartKernel(t.Context(), connect.NewRequest(&agentpb.StartKernelRequest{Name: strings.Repeat("x", 5<<20)}))
	require.Equal(t, connect.CodeResourceExhausted, connect.CodeOf(err), "%v", err)
	_, err = client.StopMeter(t.Context(), connect.NewRequest(&agentpb.StopMeterRequest{Meter: 1 << 63}))
	require.Equal(t, connect.CodeNotFound, connect.CodeOf(err))
}
