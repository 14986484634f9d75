package remote_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent/remote"
	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

func TestARunIsMeasuredBesideItsMessages(t *testing.T) {
	ctx := t.Context()
	f, err := openFar(backendtest.Pythons(t)[0])
	require.NoError(t, err)
	defer func() { _ = f.end() }()
	in := openNear(t, f, nil, remote.Setup{NoForkServer: true}).in
	k, err := kernel.Start(ctx, in, backends.KernelConfig{}, nil)
	require.NoError(t, err)
	defer func() { _ = k.Shutdown(ctx) }()
	meterer := k.Process().(backends.RunMeterer)
	run := func(code string) *kernel.Execution {
		e, err := k.Conn().Execute(ctx, &messaging.ExecuteRequest{Code: code}, nil)
		require.NoError(t, err)
		return e
	}
	for _, name := range []string{"one", "two"} {
		meter := meterer.MeterNext()
		e := run("open('" + name + "', 'w').write('x')\nsum(range(1_000_000))")
		_, err = e.Wait(ctx)
		require.NoError(t, err)
		require.NoError(t, e.Close())
		usage, err := meter.Stop(ctx)
		require.NoError(t, err)
		require.Equal(t, []backends.FileChange{{Path: name, Op: backends.FileCreated, Size: 1}}, usage.Files)
		require.Positive(t, usage.CPU)
	}

	// Without a request there is nothing to tell.
	usage, err := meterer.MeterNext().Stop(ctx)
	require.NoError(t, err)
	require.Zero(t, usage)

	// A run that never was idle is asked for.
	meter := meterer.MeterNext()
	e := run("open('three', 'w').write('x')\nimport os, signal; os.kill(os.getpid(), signal.SIGKILL)")
	_, err = e.Wait(ctx)
	require.ErrorIs(t, err, kernel.ErrDead)
	usage, err = meter.Stop(ctx)
	require.NoError(t, err)
	require.Len(t, usage.Files, 1)
}
