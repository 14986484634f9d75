package docker

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/stretchr/testify/require"
)

// frame is output as the engine cuts it.
func frame(stream byte, text string) []byte {
	head := make([]byte, 8, 8+len(text))
	head[0] = stream
	binary.BigEndian.PutUint32(head[4:], uint32(len(text)))
	return append(head, text...)
}

func TestOutputIsTakenFromItsFrames(t *testing.T) {
	ours, theirs := net.Pipe()
	c := &execConn{Conn: ours, r: bufio.NewReader(ours)}
	defer func() { require.NoError(t, c.Close()) }()
	go func() {
		for _, f := range [][]byte{frame(1, "one"), frame(2, "a warning\n"), frame(1, ""), frame(1, "two")} {
			for _, b := range f { // in the smallest pieces
				_, _ = theirs.Write([]byte{b})
			}
		}
		_, _ = theirs.Write(frame(2, strings.Repeat("x", 3*maxDiagnosis)))
		_ = theirs.Close()
	}()
	data, err := io.ReadAll(c)
	require.Equal(t, "onetwo", string(data))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.ErrorContains(t, err, "a warning")
	require.Len(t, c.diagnosis(), maxDiagnosis, "it is bounded")
}

func TestWhatTheEngineSaysInsteadIsAnError(t *testing.T) {
	ours, theirs := net.Pipe()
	c := &execConn{Conn: ours, r: bufio.NewReader(ours), bridge: true}
	go func() {
		_, _ = theirs.Write(frame(1, "OCI runtime exec failed: no such file\r\n"))
		_ = theirs.Close()
	}()
	_, err := c.Read(make([]byte, 100))
	require.ErrorContains(t, err, "OCI runtime exec failed: no such file")
	require.NoError(t, c.Close())
}

func TestADeadlineInAFrameLosesNothing(t *testing.T) {
	ours, theirs := net.Pipe()
	c := &execConn{Conn: ours, r: bufio.NewReader(ours)}
	defer func() { require.NoError(t, errors.Join(c.Close(), theirs.Close())) }()
	go func() {
		for _, b := range frame(1, "slow") {
			time.Sleep(3 * time.Millisecond)
			_, _ = theirs.Write([]byte{b})
		}
	}()
	var got []byte
	for len(got) < 4 {
		require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Millisecond)))
		buf := make([]byte, 10)
		n, err := c.Read(buf)
		got = append(got, buf[:n]...)
		if err != nil {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		}
	}
	require.Equal(t, "slow", string(got))
}

// bareContainer is a container of our image without an agent.
func bareContainer(t *testing.T, e *engine) string {
	t.Helper()
	ctx := testContext(t)
	img, err := e.findImage(ctx, "")
	require.NoError(t, err)
	created, err := e.api.ContainerCreate(ctx, &container.Config{
		Image: img.ID, Entrypoint: []string{"sleep", "600"}, Labels: map[string]string{"org.ds-sandbox.test": t.Name()},
	}, &container.HostConfig{NetworkMode: "none"}, nil, nil, "")
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, e.api.ContainerRemove(context.Background(), created.ID, container.RemoveOptions{Force: true}))
	})
	require.NoError(t, e.api.ContainerStart(ctx, created.ID, container.StartOptions{}))
	return created.ID
}

func TestAProgramInAContainerIsAConnection(t *testing.T) {
	e := needEngine(t)
	id := bareContainer(t, e)
	ctx := testContext(t)
	conn, err := e.dialExec(ctx, id, "cat")
	require.NoError(t, err)
	const size = 32 << 20
	sent := make([]byte, size)
	_, _ = rand.Read(sent)
	begun := time.Now()
	var writer sync.WaitGroup
	writer.Go(func() {
		if _, err := conn.Write(sent); err != nil {
			t.Error(err)
		}
	})
	got := make([]byte, size)
	_, err = io.ReadFull(conn, got)
	require.NoError(t, err)
	writer.Wait()
	require.Equal(t, sent, got)
	t.Logf("there and back: %.0f MB/s", size/1e6/time.Since(begun).Seconds())
	require.NoError(t, conn.(*execConn).CloseWrite())
	_, err = conn.Read(got)
	require.ErrorIs(t, err, io.EOF, "the program has ended")
	require.NoError(t, conn.Close())

	conn, err = e.dialExec(ctx, id, "sh", "-c", "echo what is wrong >&2; exit 3")
	require.NoError(t, err)
	_, err = conn.Read(got)
	require.ErrorContains(t, err, "what is wrong")
	require.NoError(t, conn.Close())

	_, err = e.dialExec(ctx, "0123456789ab", "cat")
	require.True(t, gone(err), "%v", err)
}

func TestAReadOfAContainerThatGoesEnds(t *testing.T) {
	e := needEngine(t)
	id := bareContainer(t, e)
	ctx := testContext(t)
	conn, err := e.dialExec(ctx, id, "cat")
	require.NoError(t, err)
	_, err = conn.Write([]byte("x"))
	require.NoError(t, err)
	_, err = conn.Read(make([]byte, 1))
	require.NoError(t, err, "it runs")
	ended := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		ended <- err
	}()
	require.NoError(t, e.api.ContainerKill(ctx, id, "KILL"))
	require.Error(t, <-ended)
	require.NoError(t, conn.Close())
}
