package dockertest

import (
	"context"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"
	"github.com/stretchr/testify/require"
)

// The labels of containers, as the backend sets them.
const (
	labelOwner = "org.ds-sandbox.owner"
	labelID    = "org.ds-sandbox.id"
)

// Siblings are the containers of the backend that has made a sandbox, the ended ones too: their ids at the engine by the sandbox's.
func Siblings(t testing.TB, sandboxID string) map[string]string {
	t.Helper()
	api := reach(t)
	defer func() { _ = api.Close() }()
	found := list(t, api, labelID+"="+sandboxID)
	require.Len(t, found, 1)
	all := make(map[string]string)
	for _, c := range list(t, api, labelOwner+"="+found[0].Labels[labelOwner]) {
		all[c.Labels[labelID]] = c.ID
	}
	return all
}

// RemoveContainer removes a container behind the back of who has made it. One that is gone already is no error.
func RemoveContainer(t testing.TB, id string) {
	t.Helper()
	api := reach(t)
	defer func() { _ = api.Close() }()
	err := api.ContainerRemove(context.Background(), id, container.RemoveOptions{Force: true})
	if !errdefs.IsNotFound(err) {
		require.NoError(t, err)
	}
}

func reach(t testing.TB) *client.Client {
	t.Helper()
	api, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	require.NoError(t, err)
	return api
}

func list(t testing.TB, api *client.Client, label string) []container.Summary {
	t.Helper()
	ours := filters.NewArgs(filters.Arg("label", label))
	found, err := api.ContainerList(context.Background(), container.ListOptions{All: true, Filters: ours})
	require.NoError(t, err)
	return found
}

// KillContainer kills a container behind the back of who has made it.
func KillContainer(t testing.TB, id string) {
	t.Helper()
	api := reach(t)
	defer func() { _ = api.Close() }()
	require.NoError(t, api.ContainerKill(context.Background(), id, "KILL"))
}

// NeedRuntime skips a test where the engine has no runtime of that name.
func NeedRuntime(t testing.TB, name string) {
	t.Helper()
	api := reach(t)
	defer func() { _ = api.Close() }()
	info, err := api.Info(context.Background())
	require.NoError(t, err)
	if _, ok := info.Runtimes[name]; !ok {
		t.Skipf("the engine at %s has no runtime %s: register it in its daemon.json", api.DaemonHost(), name)
	}
}
