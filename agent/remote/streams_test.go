package remote_test

import (
	"context"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/agent/remote"
	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
)

// What E2B's clients will be forwarded to.
func TestStreamsInTheShapeOfE2B(t *testing.T) {
	f := newFar(t, backendtest.Pythons(t)[0])
	in := openNear(t, f, nil, remote.Setup{NoForkServer: true}).in
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	raw := remote.RawClient(ctx, f.dial)
	processes, files := agentpb.NewProcessClient(raw, "http://agent"), agentpb.NewFilesystemClient(raw, "http://agent")

	tag := "mine"
	stream, err := processes.Start(ctx, connect.NewRequest(&agentpb.StartRequest{
		Process: &agentpb.ProcessConfig{Cmd: "/bin/sh", Args: []string{"-c", "read line; echo out $line; echo err >&2; exit 3"}}, Tag: &tag,
	}))
	require.NoError(t, err)
	require.True(t, stream.Receive())
	pid := stream.Msg().Event.GetStart().GetPid()
	require.NotZero(t, pid)
	by := &agentpb.ProcessSelector{Selector: &agentpb.ProcessSelector_Tag{Tag: tag}}
	second, err := processes.Connect(ctx, connect.NewRequest(&agentpb.ConnectRequest{Process: by}))
	require.NoError(t, err)
	require.True(t, second.Receive())
	require.Equal(t, pid, second.Msg().Event.GetStart().GetPid())
	_, err = processes.SendInput(ctx, connect.NewRequest(&agentpb.SendInputRequest{
		Process: by, Input: &agentpb.ProcessInput{Input: &agentpb.ProcessInput_Stdin{Stdin: []byte("in\n")}},
	}))
	require.NoError(t, err)
	for _, receive := range []func() *agentpb.ProcessEvent{
		func() *agentpb.ProcessEvent { require.True(t, stream.Receive()); return stream.Msg().Event },
		func() *agentpb.ProcessEvent { require.True(t, second.Receive()); return second.Msg().Event },
	} {
		out, errText := "", ""
		for {
			event := receive()
			if end := event.GetEnd(); end != nil {
				require.EqualValues(t, 3, end.ExitCode)
				require.True(t, end.Exited)
				require.Equal(t, "exit status 3", end.Status)
				require.Equal(t, "exit status 3", end.GetError())
				break
			}
			out += string(event.GetData().GetStdout())
			errText += string(event.GetData().GetStderr())
		}
		require.Equal(t, "out in\n", out)
		require.Equal(t, "err\n", errText)
	}
	require.False(t, stream.Receive())
	require.NoError(t, stream.Err())

	// One whose host goes runs on, whatever it prints.
	going, leave := context.WithCancel(ctx)
	flood, err := processes.Start(going, connect.NewRequest(&agentpb.StartRequest{
		Process: &agentpb.ProcessConfig{Cmd: "/bin/sh", Args: []string{"-c", "seq 1 300000; touch done; sleep 600"}},
	}))
	require.NoError(t, err)
	require.True(t, flood.Receive())
	pid = flood.Msg().Event.GetStart().GetPid()
	leave()
	require.Eventually(t, func() bool { return f.exists("ws/done") }, time.Minute, 10*time.Millisecond)
	_, err = processes.SendSignal(t.Context(), connect.NewRequest(&agentpb.SendSignalRequest{
		Process: &agentpb.ProcessSelector{Selector: &agentpb.ProcessSelector_Pid{Pid: pid}}, Signal: agentpb.Signal_SIGNAL_SIGKILL,
	}))
	require.NoError(t, err)

	watch, err := files.WatchDir(ctx, connect.NewRequest(&agentpb.WatchDirRequest{Path: "."}))
	require.NoError(t, err)
	require.True(t, watch.Receive())
	require.NotNil(t, watch.Msg().GetStart())
	require.NoError(t, in.Files().MakeDir(ctx, "made"))
	require.True(t, watch.Receive())
	require.Equal(t, "made", watch.Msg().GetFilesystem().GetName())
	require.Equal(t, agentpb.EventType_EVENT_TYPE_CREATE, watch.Msg().GetFilesystem().GetType())
	_, err = files.Stat(ctx, connect.NewRequest(&agentpb.StatRequest{Path: "none"}))
	require.Equal(t, connect.CodeNotFound, connect.CodeOf(err))

	// Programs that were left by another host are found again, with what they have printed.
	left, err := in.StartCommand(ctx, backends.Cmd{Args: []string{"sh", "-c", "echo kept; sleep 600"}})
	require.NoError(t, err)
	other := openNear(t, f, nil, remote.Setup{NoForkServer: true}).in
	var commands []backends.Command
	require.Eventually(t, func() bool { // the one that was killed above is on its way out
		commands, err = other.Commands(ctx)
		return err == nil && len(commands) == 1
	}, 10*time.Second, 10*time.Millisecond)
	require.Equal(t, left.PID(), commands[0].PID())
	buf := make([]byte, 100)
	n, err := commands[0].Stdout().Read(buf)
	require.NoError(t, err)
	require.Equal(t, "kept\n", string(buf[:n]))
	require.NoError(t, commands[0].Signal(ctx, backends.Kill))
	status, err := left.Wait(ctx)
	require.NoError(t, err)
	require.Equal(t, "SIGKILL", status.Signal)
}
