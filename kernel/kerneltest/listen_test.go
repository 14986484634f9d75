package kerneltest_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/kernel/kerneltest"
	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/messaging/zmtp"
)

// overSockets runs a test on each network.
func overSockets(t *testing.T, opts *kerneltest.Options, test func(t *testing.T, k *kerneltest.Kernel, info *messaging.ConnectionInfo)) {
	t.Helper()
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			k := kerneltest.New(opts)
			defer k.Close()
			info, err := kerneltest.Listen(k, network)
			require.NoError(t, err)
			test(t, k, info)
		})
	}
}

// connect connects a client and waits until its subscription is known to be active.
func connect(t *testing.T, info *messaging.ConnectionInfo) *client {
	t.Helper()
	transport, err := zmtp.Connect(t.Context(), info, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, transport.Close()) })
	c := newClient(transport)
	require.NoError(t, c.ready(t.Context()))
	return c
}

// ready asks for kernel_info until the reply and the idle of one request have come.
func (c *client) ready(ctx context.Context) error {
	for {
		m, err := c.session.New(messaging.Control, &messaging.KernelInfoRequest{})
		if err != nil {
			return err
		}
		if err := c.transport.Send(ctx, m); err != nil {
			return err
		}
		for replied, idle := false, false; !replied || !idle; {
			wait, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			got, err := c.transport.Recv(wait)
			expired := wait.Err() != nil
			cancel()
			if expired && ctx.Err() == nil {
				break // the subscription was late: ask again
			}
			if err != nil {
				return err
			}
			if got.ParentID() == m.Header.MsgID {
				replied = replied || got.Channel == messaging.Control
				idle = idle || line(got) == "iopub status idle"
			}
			if replied && idle {
				return nil
			}
		}
	}
}

func TestSocketsCarryARun(t *testing.T) {
	overSockets(t, nil, func(t *testing.T, k *kerneltest.Kernel, info *messaging.ConnectionInfo) {
		k.On("ask", func(c *kerneltest.Call) {
			value, err := c.Input("? ", false)
			if err == nil {
				c.Stream(messaging.Stdout, value)
			}
		})
		c := connect(t, info)
		id := c.send(t, messaging.Shell, execute("ask"))
		seen := map[string]bool{}
		for !seen["shell execute_reply ok 1"] || !seen["iopub status idle"] {
			m := c.recv(t)
			require.Equal(t, id.MsgID, m.ParentID())
			seen[line(m)] = true
			if m.Channel == messaging.Stdin {
				c.send(t, messaging.Stdin, &messaging.InputReply{Value: "42"})
			}
		}
		require.True(t, seen["iopub stream stdout 42"])
		require.True(t, seen["iopub execute_input 1 ask"])
	})
}

func TestClientsOfOneKernelHearIOPubAndOnlyTheirOwnReplies(t *testing.T) {
	overSockets(t, nil, func(t *testing.T, _ *kerneltest.Kernel, info *messaging.ConnectionInfo) {
		a, b := connect(t, info), connect(t, info)
		id := a.send(t, messaging.Shell, execute("x"))
		for _, c := range []struct {
			*client
			want map[string]int
		}{
			{a, map[string]int{"shell execute_reply ok 1": 1, "iopub status idle": 1, "iopub stream stdout x": 1}},
			{b, map[string]int{"shell execute_reply ok 1": 0, "iopub status idle": 1, "iopub stream stdout x": 1}},
		} {
			got := map[string]int{}
			for got["iopub status idle"] == 0 || got["shell execute_reply ok 1"] < c.want["shell execute_reply ok 1"] {
				if m := c.recv(t); m.ParentID() == id.MsgID {
					got[line(m)]++
				}
			}
			for text, n := range c.want {
				require.Equal(t, n, got[text], text)
			}
		}
	})
}

func TestWelcomeGoesToTheFirstSubscriberOfATopic(t *testing.T) {
	overSockets(t, &kerneltest.Options{Welcome: true}, func(t *testing.T, k *kerneltest.Kernel, info *messaging.ConnectionInfo) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		network, address := info.Address(messaging.IOPub)
		signer, err := messaging.NewSigner(info.SignatureScheme, []byte(info.Key))
		require.NoError(t, err)
		subscriber := func() (*zmtp.Conn, func() string) {
			conn, err := zmtp.Dial(ctx, network, address, &zmtp.Options{Type: "SUB"})
			require.NoError(t, err)
			context.AfterFunc(ctx, func() { _ = conn.Close() })
			t.Cleanup(func() { _ = conn.Close() })
			return conn, func() string {
				frames, err := conn.ReadMessage()
				require.NoError(t, err)
				m, err := signer.Decode(messaging.IOPub, frames)
				require.NoError(t, err)
				content, err := m.Decode()
				require.NoError(t, err)
				if w, ok := content.(*messaging.IOPubWelcome); ok {
					return "welcome " + w.Subscription
				}
				return line(m)
			}
		}
		first, next := subscriber()
		require.NoError(t, first.Subscribe(ctx, ""))
		require.Equal(t, "welcome ", next())
		second, nextOfSecond := subscriber()
		require.NoError(t, second.Subscribe(ctx, ""))
		require.NoError(t, second.Subscribe(ctx, "nonce"))
		require.Equal(t, "welcome nonce", nextOfSecond(), "its empty topic was not the first")
		require.Equal(t, "welcome nonce", next())

		// Only what begins with the topic is sent.
		third, nextOfThird := subscriber()
		require.NoError(t, third.Subscribe(ctx, "stream.stderr"))
		require.Equal(t, "welcome stream.stderr", nextOfThird())
		k.Unasked().Stream(messaging.Stdout, "out")
		k.Unasked().Stream(messaging.Stderr, "err")
		require.Equal(t, "iopub stream stderr err", nextOfThird())
	})
}

func TestHeartbeatEchoes(t *testing.T) {
	overSockets(t, nil, func(t *testing.T, _ *kerneltest.Kernel, info *messaging.ConnectionInfo) {
		network, address := info.Address(messaging.Heartbeat)
		conn, err := zmtp.Dial(t.Context(), network, address, &zmtp.Options{Type: "REQ"})
		require.NoError(t, err)
		defer func() { require.NoError(t, conn.Close()) }()
		ping := [][]byte{{}, []byte("ping")}
		require.NoError(t, conn.WriteMessage(t.Context(), ping))
		pong, err := conn.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, ping, pong)
	})
}

func TestWronglySignedRequestIsIgnored(t *testing.T) {
	errs := make(chan error, 10)
	opts := &kerneltest.Options{OnError: func(err error) { errs <- err }}
	overSockets(t, opts, func(t *testing.T, k *kerneltest.Kernel, info *messaging.ConnectionInfo) {
		forged := *info
		forged.Key = "guessed"
		transport, err := zmtp.Connect(t.Context(), &forged, nil)
		require.NoError(t, err)
		newClient(transport).send(t, messaging.Shell, execute("evil"))
		require.ErrorIs(t, <-errs, messaging.ErrSignature)
		require.NoError(t, transport.Close())
		require.Empty(t, k.Received(""))
	})
}

func TestDeathOverSocketsIsSeenAfterWhatWasSent(t *testing.T) {
	overSockets(t, nil, func(t *testing.T, k *kerneltest.Kernel, info *messaging.ConnectionInfo) {
		k.On("die", func(c *kerneltest.Call) {
			c.Stream(messaging.Stdout, "last words")
			c.Die()
		})
		c := connect(t, info)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		out, err := c.run(ctx, "die")
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, "last words", out.stdout)
		_, err = zmtp.Connect(ctx, info, nil)
		require.Error(t, err, "its sockets are closed")
	})
}

func TestBreakClosesSocketsAndSparesTheKernel(t *testing.T) {
	overSockets(t, nil, func(t *testing.T, k *kerneltest.Kernel, info *messaging.ConnectionInfo) {
		c := connect(t, info)
		k.Break(errors.New("cable cut"))
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		_, err := c.transport.Recv(ctx)
		require.Error(t, err)
		require.NoError(t, ctx.Err())
		other := connect(t, info)
		out, err := other.run(ctx, "again")
		require.NoError(t, err)
		require.Equal(t, "again", out.stdout)
	})
}

func TestCloseLeavesNoSockets(t *testing.T) {
	k := kerneltest.New(nil)
	info, err := kerneltest.Listen(k, "unix")
	require.NoError(t, err)
	folder := filepath.Dir(info.IP)
	require.DirExists(t, folder)
	connect(t, info)
	k.Close()
	require.NoDirExists(t, folder)
	k.Close()
}

func TestListenOnUnknownNetworkLeavesNothing(t *testing.T) {
	k := kerneltest.New(nil)
	defer k.Close()
	_, err := kerneltest.Listen(k, "pigeon")
	require.ErrorContains(t, err, "pigeon")
}

func TestProcessRunsCodeAndEndsWithItsParentOrAKill(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			p, err := kerneltest.StartProcess(t.Context(), network)
			require.NoError(t, err)
			defer func() { require.NoError(t, p.Close()) }()
			require.NotEqual(t, os.Getpid(), p.PID())
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			c := connect(t, p.Info)
			out, err := c.run(ctx, "hello")
			require.NoError(t, err)
			require.Equal(t, "hello", out.stdout)
			require.NoError(t, p.Kill())
			_, err = c.transport.Recv(ctx)
			require.Error(t, err)
			require.NoError(t, ctx.Err())
			require.NoError(t, p.Close())
			if network == "unix" {
				require.NoDirExists(t, filepath.Dir(p.Info.IP), "a killed process leaves its sockets to Close")
			}
		})
	}
}

func TestProcessThatCannotStartInTimeLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancelCause(t.Context())
	late := errors.New("too late")
	cancel(late)
	_, err := kerneltest.StartProcess(ctx, "unix")
	require.ErrorIs(t, err, late)
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	require.Empty(t, left)
	_, err = kerneltest.StartProcess(t.Context(), "pigeon")
	require.Error(t, err)
}
