package containers_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func TestUsersOfAContainersMachine(t *testing.T) {
	engine := openDocker(t, func(c *sandbox.Config) { c.Profile = backends.ProfileCompatible })
	ctx := testContext(t)
	sbx, err := engine.Create(ctx, &sandbox.Options{Lazy: true})
	require.NoError(t, err)
	result, err := sbx.Commands().Run(ctx, "id -un; pwd; echo x > made", &sandbox.CommandOptions{User: backends.RootUser, Dir: "/srv"})
	require.NoError(t, err)
	require.Equal(t, "root\n/srv\n", result.Stdout)
	home, err := sbx.Home(backends.RootUser)
	require.NoError(t, err)
	require.Equal(t, "/root", home)
	root, err := sbx.FilesOf(backends.RootUser)
	require.NoError(t, err)
	require.NoError(t, root.WriteString(ctx, "/srv/deep/file", "text"))
	info, err := root.Info(ctx, "/srv/deep/file")
	require.NoError(t, err)
	require.Equal(t, "srv/deep/file", info.Path)
	require.Equal(t, "root", info.Owner)
	local := t.TempDir()
	_, err = root.Download(ctx, "/srv", local, nil)
	require.NoError(t, err)
	data, err := os.ReadFile(filepath.Join(local, "deep", "file"))
	require.NoError(t, err)
	require.Equal(t, "text", string(data))
	_, err = sbx.FilesOf("nobody")
	require.ErrorIs(t, err, backends.ErrNoUser)
	require.NoError(t, sbx.Kill(ctx))
	_, err = root.Info(ctx, "/srv")
	require.ErrorIs(t, err, sandbox.ErrKilled)
}
