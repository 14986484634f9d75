package backendtest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Memory that is in files: of /dev/shm, and of memfd_create.
func testSharedMemory(t *testing.T, open Open) {
	limits := backends.Limits{Memory: 400 << 20}
	for name, code := range map[string]string{
		"OfFilesWithoutAName": "import os\nfd = os.memfd_create('x')\nfor _ in range(2000): os.write(fd, bytes(1 << 20))",
		"OfOpenFiles":         "f = open('/dev/shm/%s', 'wb', 0)\nfor _ in range(2000): f.write(bytes(1 << 20))",
		"OfClosedFiles": `
import time
with open('/dev/shm/%s', 'wb', 0) as f:
    for _ in range(380): f.write(bytes(1 << 20)); time.sleep(.002)
held = b'x' * (200 << 20)
time.sleep(60)`,
	} {
		withLimits(t, open, name+"Counts", limits, func(t *testing.T, ctx context.Context, in backends.Instance) {
			own := fmt.Sprintf("ds-sandbox-test-%d-%s", os.Getpid(), strings.ToLower(name))
			t.Cleanup(func() { _ = os.Remove("/dev/shm/" + own) })
			found := endedBy(t, ctx, in, strings.ReplaceAll(code, "%s", own))
			require.Equal(t, backends.LimitMemory, found.Limit)
			c := startKernel(t, ctx, in, backends.KernelConfig{})
			require.Equal(t, "alive", c.run("import time; time.sleep(1); print('alive', end='')"), "what was left does not end those who come")
		})
	}
	withLimits(t, open, "SharedByManyCountsOnce", limits, func(t *testing.T, ctx context.Context, in backends.Instance) {
		c := startKernel(t, ctx, in, backends.KernelConfig{})
		require.Equal(t, "alive", c.run(`
import os, time
from multiprocessing import shared_memory
block = shared_memory.SharedMemory(create=True, size=120 << 20)
children = []
for _ in range(6):
    if (pid := os.fork()) == 0:
        block.buf[:] = bytes(120 << 20)
        time.sleep(1)
        os._exit(0)
    children.append(pid)
print("alive" if all(os.waitpid(p, 0)[1] == 0 for p in children) else "killed", end="")
block.close(); block.unlink()`))
	})
	with(t, open, "IsGivenBackAtTheEnd", func(t *testing.T, ctx context.Context, in backends.Instance) {
		prefix := fmt.Sprintf("/dev/shm/ds-sandbox-test-%d-", os.Getpid())
		theirs := prefix + "theirs"
		require.NoError(t, os.WriteFile(theirs, make([]byte, 1<<20), 0o600))
		t.Cleanup(func() { _, _, _ = os.Remove(theirs), os.Remove(prefix+"mine"), os.Remove(prefix+"block") })
		c := startKernel(t, ctx, in, backends.KernelConfig{})
		require.Empty(t, c.run(fmt.Sprintf(`
import os, time
from multiprocessing import shared_memory
a = open(%q + "mine", "wb", 0); a.write(bytes(5 << 20)); time.sleep(.3); a.close()
block = shared_memory.SharedMemory(name=%q, create=True, size=5 << 20)
block.buf[:] = bytes(5 << 20)
try: theirs = open(%q, "r+b", 0); theirs.write(b"x")
except FileNotFoundError: pass  # another machine's
time.sleep(.3)`, prefix, strings.TrimPrefix(prefix, "/dev/shm/")+"block", theirs)))
		before, err := in.Stats(ctx)
		require.NoError(t, err)
		require.Empty(t, c.run("b = os.memfd_create('x')\nfor _ in range(60): os.write(b, bytes(1 << 20))"))
		after, err := in.Stats(ctx)
		require.NoError(t, err)
		require.Greater(t, after.Memory-before.Memory, int64(50<<20))
		// A file that another program makes meanwhile, and closes.
		late := prefix + "late"
		require.NoError(t, os.WriteFile(late, make([]byte, 1<<20), 0o600))
		t.Cleanup(func() { _ = os.Remove(late) })
		<-time.After(100 * time.Millisecond)
		require.NoError(t, in.Destroy(ctx))
		require.FileExists(t, theirs)
		require.FileExists(t, late)
		require.NoFileExists(t, prefix+"mine")
		require.NoFileExists(t, prefix+"block")
	})
}
