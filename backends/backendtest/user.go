package backendtest

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// nobody is the user without privileges.
const nobody = 65534

// AsOrdinaryUser runs tests of this package again as a user without privileges, when it is root who runs them: what root may do,
// such as to look into closed folders, hides mistakes. must is what of them has to be in the output.
func AsOrdinaryUser(t *testing.T, pattern, must string, args ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user; the other tests are about this one")
	}
	home, err := os.MkdirTemp("/tmp", "dsn")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(home)) })
	require.NoError(t, os.Chown(home, nobody, nobody))
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", append([]string{"-test.run", pattern, "-test.v", "-test.count=1"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	cmd.Dir = home
	cmd.Env = append(os.Environ(), "HOME="+home, "TMPDIR="+home, "XDG_RUNTIME_DIR=", "XDG_CACHE_HOME=",
		"PATH=/usr/local/bin:/usr/bin:/bin") // without folders of root's, for which the search for a program ends in EACCES
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	if !strings.Contains(string(out), "--- PASS: "+must) {
		t.Skip("no Python with ipykernel that everybody may use")
	}
}
