package remote_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent/remote"
	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
)

func TestRefusedUploadsBreakNothing(t *testing.T) {
	n := openNear(t, newFar(t, backendtest.Pythons(t)[0]), nil, remote.Setup{})
	files := n.in.Files()
	require.NoError(t, files.MakeDir(t.Context(), "folder"))
	for range 3000 { // each refused while its body is on its way
		_, err := files.Write(t.Context(), "folder", strings.NewReader("x"), nil)
		require.ErrorIs(t, err, backends.ErrIsDir)
	}
}
