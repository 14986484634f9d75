package remote_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent/remote"
	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// near is a host of a far.
type near struct {
	*remote.Client
	in *remote.Instance
}

func openNear(t *testing.T, f *far, opts *remote.Options, setup remote.Setup) *near {
	t.Helper()
	client, err := remote.Open(t.Context(), f.dial, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	setup.ID, setup.Isolation = "one", backends.IsolationNone
	require.NoError(t, client.Configure(t.Context(), setup))
	return &near{Client: client, in: client.Instance()}
}

// talk speaks to a kernel.
type talk struct {
	t       *testing.T
	process backends.KernelProcess
	wire    messaging.Transport
	session *messaging.Session
}

func startKernel(t *testing.T, in *remote.Instance) *talk {
	t.Helper()
	process, err := in.StartKernel(t.Context(), backends.KernelConfig{})
	require.NoError(t, err)
	return connectTo(t, process)
}

func connectTo(t *testing.T, process backends.KernelProcess) *talk {
	t.Helper()
	wire, err := process.Connect(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, wire.Close()) })
	return &talk{t: t, process: process, wire: wire, session: messaging.NewSession("test")}
}

func (k *talk) execute(code string) string {
	k.t.Helper()
	m, err := k.session.New(messaging.Shell, &messaging.ExecuteRequest{Code: code})
	require.NoError(k.t, err)
	require.NoError(k.t, k.wire.Send(k.t.Context(), m))
	return m.Header.MsgID
}

// outcome is all that a run has said.
type outcome struct {
	text     string
	displays []*messaging.Message
	replies  int
	idles    int
	raised   string
}

// collect reads until the run is over.
func (k *talk) collect(id string) outcome {
	k.t.Helper()
	var o outcome
	var text strings.Builder
	for o.replies == 0 || o.idles == 0 {
		m, err := k.wire.Recv(k.t.Context())
		require.NoError(k.t, err)
		if id != "" && m.ParentID() != id || id == "" && (m.Parent == nil || m.Parent.MsgType != "execute_request") {
			continue
		}
		content, err := m.Decode()
		require.NoError(k.t, err)
		switch body := content.(type) {
		case *messaging.Stream:
			text.WriteString(body.Text)
		case *messaging.DisplayData:
			o.displays = append(o.displays, m)
		case *messaging.ErrorOutput:
			o.raised = body.EName
		case *messaging.ExecuteReply:
			o.replies++
		case *messaging.Status:
			if body.ExecutionState == messaging.StateIdle {
				o.idles++
			}
		}
	}
	o.text = text.String()
	return o
}

// untilStream reads up to the first text.
func (k *talk) untilStream() {
	k.t.Helper()
	for {
		m, err := k.wire.Recv(k.t.Context())
		require.NoError(k.t, err)
		if m.Header.MsgType == "stream" {
			return
		}
	}
}

func (k *talk) run(code string) outcome {
	k.t.Helper()
	return k.collect(k.execute(code))
}

// cutAgainAndAgain breaks connections until it is stopped.
func cutAgainAndAgain(f *far, pause time.Duration) (stop func() int) {
	done := make(chan struct{})
	var cutter sync.WaitGroup
	cuts := 0
	cutter.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(pause):
				f.cut()
				cuts++
			}
		}
	})
	return func() int {
		close(done)
		cutter.Wait()
		return cuts
	}
}

func TestFloodOfPrintsSurvivesCutConnections(t *testing.T) {
	f := newFar(t, backendtest.Pythons(t)[0])
	k := startKernel(t, openNear(t, f, nil, remote.Setup{NoForkServer: true}).in)
	const lines = 30_000
	var want strings.Builder
	for i := range lines {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	stop := cutAgainAndAgain(f, 40*time.Millisecond)
	o := k.run(fmt.Sprintf("for i in range(%d):\n    print('line', i, flush=i %% 3 == 0)\n"+
		"import time\nfor i in range(50):\n    time.sleep(.02); print(i, flush=True)", lines))
	cuts := stop()
	require.GreaterOrEqual(t, cuts, 5)
	for i := range 50 {
		fmt.Fprintf(&want, "%d\n", i)
	}
	require.True(t, want.String() == o.text, "%d bytes came, %d were printed, over %d cuts", len(o.text), want.Len(), cuts)
	require.Equal(t, 1, o.replies)
	require.Equal(t, 1, o.idles)
}

// brittle breaks after so many bytes were read.
type brittle struct {
	net.Conn
	left int
}

func (c *brittle) Read(p []byte) (int, error) {
	if c.left <= 0 {
		_ = c.Close()
		return 0, io.ErrUnexpectedEOF
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

func TestLargeMessageSurvivesACutInItsMiddle(t *testing.T) {
	f := newFar(t, backendtest.Pythons(t)[0])
	near := openNear(t, f, nil, remote.Setup{NoForkServer: true})
	k := startKernel(t, near.in)
	f.mu.Lock()
	f.wrap = func(c net.Conn) net.Conn {
		f.wrap = func(c net.Conn) net.Conn {
			f.wrap = nil
			return &brittle{Conn: c, left: 49 << 20}
		}
		return &brittle{Conn: c, left: 20 << 20}
	}
	f.mu.Unlock()
	f.cut()
	o := k.run("from IPython.display import display\nprint('before')\n" +
		"display({'application/x-test': 'x' * 50_000_000}, raw=True)\nprint('after')")
	f.mu.Lock()
	require.Nil(t, f.wrap, "both have broken")
	f.mu.Unlock()
	require.Equal(t, "before\nafter\n", o.text)
	require.Len(t, o.displays, 1)
	require.Greater(t, len(o.displays[0].Content), 50_000_000)
}

func TestRequestsArriveOnceWhateverBreaks(t *testing.T) {
	f := newFar(t, backendtest.Pythons(t)[0])
	k := startKernel(t, openNear(t, f, nil, remote.Setup{NoForkServer: true}).in)
	k.run("n = 0")
	stop := cutAgainAndAgain(f, 15*time.Millisecond)
	const rounds = 100
	for range rounds {
		require.Empty(t, k.run("n += 1; import time; time.sleep(.005)").raised)
	}
	require.GreaterOrEqual(t, stop(), 10)
	require.Equal(t, fmt.Sprintln(rounds), k.run("print(n)").text)
}

func TestAnotherHostTakesARunOver(t *testing.T) {
	f := newFar(t, backendtest.Pythons(t)[0])
	first := openNear(t, f, nil, remote.Setup{NoForkServer: true})
	k := startKernel(t, first.in)
	require.NoError(t, first.PutState(t.Context(), "run", []byte("under way")))
	id := k.execute("import time\nprint('begun', flush=True)\nfor i in range(40):\n    time.sleep(.05); print(i, flush=True)")
	k.untilStream()
	require.NoError(t, first.Close(), "the first program dies")
	_, err := k.wire.Recv(t.Context())
	for err == nil {
		_, err = k.wire.Recv(t.Context())
	}
	require.Error(t, err)

	second := openNear(t, f, nil, remote.Setup{NoForkServer: true})
	keys, err := second.ListState(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"run"}, keys)
	value, err := second.GetState(t.Context(), "run")
	require.NoError(t, err)
	require.Equal(t, "under way", string(value))
	kernels, err := second.in.Kernels(t.Context())
	require.NoError(t, err)
	require.Len(t, kernels, 1)
	require.Equal(t, k.process.ID(), kernels[0].ID())
	require.Equal(t, "python3", kernels[0].Spec().Name)
	again := connectTo(t, kernels[0])
	o := again.collect(id)
	require.True(t, strings.HasSuffix(o.text, "\n38\n39\n"), o.text)
	require.Equal(t, "4\n", again.run("print(2+2)").text, "and the kernel is its own now")

	// One that is not dead hears that it was robbed.
	third := openNear(t, f, nil, remote.Setup{NoForkServer: true})
	kernels, err = third.in.Kernels(t.Context())
	require.NoError(t, err)
	require.Equal(t, "5\n", connectTo(t, kernels[0]).run("print(5)").text)
	for err = nil; err == nil; {
		_, err = again.wire.Recv(t.Context())
	}
	require.ErrorIs(t, err, remote.ErrTakenOver)
}

func TestWhatNobodyFetchesIsBoundedAndTold(t *testing.T) {
	f := newFar(t, backendtest.Pythons(t)[0])
	var mu sync.Mutex
	var dropped, bytes int64
	near := openNear(t, f, &remote.Options{Patience: time.Minute, Dropped: func(_ string, n, size int64) {
		mu.Lock()
		defer mu.Unlock()
		dropped, bytes = dropped+n, bytes+size
	}}, remote.Setup{NoForkServer: true, RelayBudget: 1 << 20})
	k := startKernel(t, near.in)
	k.run("import time")
	id := k.execute("from IPython.display import display\nprint('begun', flush=True)\ntime.sleep(.3)\nfor i in range(20):\n    print('x' * 1_000_000, flush=True)\n" +
		"display({'application/x-test': 'the end'}, raw=True)\nopen('done', 'w').close()\n1/0")
	k.untilStream() // a request that is on its way would wait there for the next connection
	f.setDown(errors.New("no way"))
	f.cut()
	require.Eventually(t, func() bool { return f.exists("ws/done") }, time.Minute, 10*time.Millisecond)
	f.setDown(nil)
	o := k.collect(id)
	require.Equal(t, "ZeroDivisionError", o.raised)
	require.Len(t, o.displays, 1, "texts go first")
	mu.Lock()
	defer mu.Unlock()
	require.Positive(t, dropped)
	require.Greater(t, bytes, int64(15<<20))
	require.Less(t, len(o.text), 4<<20)
}

func TestLostAgentIsToldAfterAPatience(t *testing.T) {
	f := newFar(t, backendtest.Pythons(t)[0])
	near := openNear(t, f, &remote.Options{Patience: 300 * time.Millisecond}, remote.Setup{NoForkServer: true})
	k := startKernel(t, near.in)
	f.setDown(errors.New("no route"))
	f.cut()
	_, err := near.in.Stats(t.Context())
	require.ErrorIs(t, err, remote.ErrLost)
	require.ErrorContains(t, err, "no route")
	for err = nil; err == nil; {
		_, err = k.wire.Recv(t.Context())
	}
	require.ErrorIs(t, err, remote.ErrLost)
	m, err := k.session.New(messaging.Shell, &messaging.ExecuteRequest{Code: "1"})
	require.NoError(t, err)
	require.ErrorIs(t, k.wire.Send(t.Context(), m), remote.ErrLost)
	f.setDown(nil)
	_, err = near.in.Stats(t.Context())
	require.NoError(t, err, "it is tried again")
	// An agent that was started again is another.
	g := newFar(t, backendtest.Pythons(t)[0])
	f.setOther(g)
	f.cut()
	_, err = near.in.Stats(t.Context())
	require.ErrorIs(t, err, remote.ErrLost)
	require.ErrorContains(t, err, "started again")
}

func TestWhatEndsWithItsSandboxSaysForWhichLimit(t *testing.T) {
	f := newFar(t, backendtest.Pythons(t)[0])
	near := openNear(t, f, nil, remote.Setup{NoForkServer: true})
	c, err := near.in.StartCommand(t.Context(), backends.Cmd{Args: []string{"sleep", "600"}})
	require.NoError(t, err)
	limit := &backends.LimitError{Limit: backends.LimitMemory, Allowed: 100}
	near.in.Forsake(limit)
	f.setDown(errors.New("it has ended"))
	f.cut()
	require.NoError(t, near.Close())
	status, err := c.Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, "SIGKILL", status.Signal)
	require.Equal(t, limit, status.Limit)
	require.Equal(t, []*backends.LimitError{limit}, status.LimitsHit)
}

func TestCallsHappenOnceWhateverBreaks(t *testing.T) {
	f := newFar(t, backendtest.Pythons(t)[0])
	in := openNear(t, f, nil, remote.Setup{NoForkServer: true}).in
	stop := cutAgainAndAgain(f, 7*time.Millisecond)
	ctx := t.Context()
	for i := range 60 {
		from, to := fmt.Sprintf("f%d", i), fmt.Sprintf("f%d", i+1)
		if i == 0 {
			require.NoError(t, in.Files().MakeDir(ctx, from))
		}
		require.NoError(t, in.Files().Rename(ctx, from, to), "twice would find nothing to move")
	}
	for range 10 {
		c, err := in.StartCommand(ctx, backends.Cmd{Args: []string{"sh", "-c", "echo x >> counted; seq 1 20000"}})
		require.NoError(t, err)
		out, err := io.ReadAll(c.Stdout())
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(out), "1\n2\n") && strings.HasSuffix(string(out), "\n20000\n"))
		require.Len(t, out, 108894)
		_, err = io.ReadAll(c.Stderr())
		require.NoError(t, err)
		status, err := c.Wait(ctx)
		require.NoError(t, err)
		require.Zero(t, status.Code)
	}
	require.GreaterOrEqual(t, stop(), 10)
	r, err := in.Files().Open(ctx, "counted", nil)
	require.NoError(t, err)
	data, err := io.ReadAll(r)
	require.NoError(t, errors.Join(err, r.Close()))
	require.Equal(t, strings.Repeat("x\n", 10), string(data))
}

func TestStartThatIsGivenUpLeavesNothing(t *testing.T) {
	f := newFar(t, backendtest.Pythons(t)[0])
	in := openNear(t, f, nil, remote.Setup{NoForkServer: true}).in
	for i := range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Millisecond)
		if c, err := in.StartCommand(ctx, backends.Cmd{Args: []string{"sleep", "600"}}); err == nil {
			require.NoError(t, c.Signal(t.Context(), backends.Kill))
		}
		cancel()
	}
	require.Eventually(t, func() bool {
		stats, err := in.Stats(t.Context())
		require.NoError(t, err)
		return stats.Processes == 0
	}, 20*time.Second, 20*time.Millisecond)
}

func TestLaterKernelsAreForks(t *testing.T) {
	f := newFar(t, backendtest.Pythons(t)[0])
	in := openNear(t, f, nil, remote.Setup{Preload: []string{"json"}}).in
	first := startKernel(t, in)
	require.Equal(t, backends.StartCold, first.process.(backends.StartTeller).StartKind())
	require.NoError(t, in.Warm(t.Context()))
	second := startKernel(t, in)
	require.Equal(t, backends.StartFork, second.process.(backends.StartTeller).StartKind())
	require.Equal(t, "2\n", second.run("print(1+1)").text)
	second.run("import os\nif os.fork() == 0:\n    import time; time.sleep(600)")
	stats, err := in.Stats(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, stats.Processes, "both count")
	require.NoError(t, in.Pause(t.Context()))
	id := second.execute("print('on')")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = second.wire.Recv(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded, "both are paused")
	require.NoError(t, in.Resume(t.Context()))
	require.Equal(t, "on\n", second.collect(id).text)
	require.NoError(t, in.Destroy(t.Context()))
	for _, k := range []*talk{first, second} {
		_, err = k.process.Wait(t.Context())
		require.NoError(t, err)
	}
}

func TestFrozenAgentIsNotMissed(t *testing.T) {
	f := newFar(t, backendtest.Pythons(t)[0])
	near := openNear(t, f, nil, remote.Setup{NoForkServer: true})
	near.Freeze()
	_, err := near.in.Stats(t.Context())
	require.ErrorIs(t, err, backends.ErrPaused)
	near.Thaw()
	_, err = near.in.Stats(t.Context())
	require.NoError(t, err)
}
