package sandbox_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func TestAFolderIsNoMachine(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		_, err := sbx.FilesOf(backends.OrdinaryUser)
		require.ErrorIs(t, err, backends.ErrUnsupported)
		_, err = sbx.Home(backends.RootUser)
		require.ErrorIs(t, err, backends.ErrUnsupported)
		_, err = sbx.Commands().Run(ctx, "true", &sandbox.CommandOptions{User: backends.RootUser})
		require.ErrorIs(t, err, backends.ErrUnsupported)
	})
}
