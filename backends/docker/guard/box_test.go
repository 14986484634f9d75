package guard

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

const (
	testNetwork = "ds-sandbox-test"
	probeImage  = "ds-sandbox-test-probe"
)

// demand skips the test with a reason, or fails it when DS_SANDBOX_REQUIRE names docker.
func demand(t *testing.T, reason string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("DS_SANDBOX_REQUIRE"), ","), "docker") {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

func engine(t *testing.T) *client.Client {
	t.Helper()
	api, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	require.NoError(t, err)
	t.Cleanup(func() { api.Close() }) //nolint:errcheck // a test's
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := api.Ping(ctx); err != nil {
		demand(t, "no Docker engine: "+err.Error())
	}
	return api
}

// binaries are the agent and the probe, built once.
var binaries = sync.OnceValues(func() (agent, probe []byte) {
	dir, err := os.MkdirTemp("", "guard-test-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a test's
	build := func(pkg string) []byte {
		target := filepath.Join(dir, "binary")
		cmd := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w", "-o", target, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
		if out, err := cmd.CombinedOutput(); err != nil {
			panic(string(out))
		}
		data, err := os.ReadFile(target)
		if err != nil {
			panic(err)
		}
		return data
	}
	return build("../../../cmd/ds-sandbox-agent"), build("./testdata/probe")
})

// open is a guard whose sandboxes ask the world's resolver.
func open(t *testing.T, api *client.Client, networkName string) *Guard {
	t.Helper()
	agent, probe := binaries()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "probe", Mode: 0o755, Size: int64(len(probe))}))
	_, err := w.Write(probe)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	progress, err := api.ImageImport(t.Context(), image.ImportSource{Source: &archive, SourceName: "-"}, probeImage, image.ImportOptions{})
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, progress)
	require.NoError(t, err)
	require.NoError(t, progress.Close())

	g := New(api, Options{Agent: agent, Network: networkName, Upstreams: []netip.AddrPort{netip.MustParseAddrPort(resolverAt + ":53")}})
	t.Cleanup(func() {
		ctx := context.Background()
		if g.network != "" {
			require.NoError(t, api.NetworkRemove(ctx, g.network))
		}
		for _, name := range []string{probeImage, g.image} {
			api.ImageRemove(ctx, name, image.RemoveOptions{Force: true}) //nolint:errcheck // a test's
		}
	})
	return g
}

// box is a sandbox's container.
type box struct {
	t   *testing.T
	api *client.Client
	g   *Guard
	id  string
}

// start makes a container as a backend does, with n's rules unless they are nil.
func start(t *testing.T, api *client.Client, g *Guard, user string, n *backends.Network) *box {
	t.Helper()
	host := &container.HostConfig{CapDrop: []string{"ALL"}, SecurityOpt: []string{"no-new-privileges"}}
	if user == "0" { // as the compatible profile has it: the engine's default capabilities, but for what Prepare takes
		host = &container.HostConfig{}
	}
	require.NoError(t, g.Prepare(t.Context(), backends.Network{Mode: backends.NetworkBridge}, host))
	made, err := api.ContainerCreate(t.Context(), &container.Config{
		Image: probeImage, Entrypoint: []string{"/probe"}, Cmd: []string{"sleep"}, User: user,
	}, host, nil, nil, "")
	require.NoError(t, err)
	b := &box{t, api, g, made.ID}
	t.Cleanup(func() {
		require.NoError(t, g.Remove(context.Background(), b.id))
		require.NoError(t, g.remove(context.Background(), b.id))
	})
	require.NoError(t, api.ContainerStart(t.Context(), b.id, container.StartOptions{}))
	if n != nil {
		begun := time.Now()
		require.NoError(t, g.Apply(t.Context(), b.id, *n))
		t.Logf("rules in force after %v", time.Since(begun).Round(time.Millisecond))
	}
	return b
}

// exec runs the probe in the container; stdout is a reader of what it prints.
func (b *box) exec(args ...string) io.Reader {
	b.t.Helper()
	made, err := b.api.ContainerExecCreate(b.t.Context(), b.id, container.ExecOptions{
		Cmd: append([]string{"/probe"}, args...), AttachStdout: true, AttachStderr: true,
	})
	require.NoError(b.t, err)
	stream, err := b.api.ContainerExecAttach(b.t.Context(), made.ID, container.ExecAttachOptions{})
	require.NoError(b.t, err)
	r, w := io.Pipe()
	go func() {
		_, err := stdcopy.StdCopy(w, w, stream.Reader)
		stream.Close()
		w.CloseWithError(err)
	}()
	return r
}

func (b *box) probe(args ...string) string {
	b.t.Helper()
	out, err := io.ReadAll(b.exec(args...))
	require.NoError(b.t, err)
	return strings.TrimSpace(string(out))
}

// reaches and refuses probe by TCP and UDP. A refusal comes at once.
func (b *box) reaches(address string) {
	b.t.Helper()
	at := netip.AddrPortFrom(netip.MustParseAddr(address), 7777).String()
	require.Equal(b.t, "ok echo", b.probe("tcp", at), at)
	require.Equal(b.t, "ok echo", b.probe("udp", at), at)
}

func (b *box) refuses(address string) {
	b.t.Helper()
	a := netip.MustParseAddr(address)
	at := netip.AddrPortFrom(a, 7777).String()
	for _, network := range []string{"tcp", "udp"} {
		said, refused := strings.CutPrefix(b.probe(network, at), "error after ")
		require.True(b.t, refused, "%s %s is reached", network, at)
		after, _, _ := strings.Cut(said, ":")
		took, err := time.ParseDuration(after) // the probe's own: the engine's exec takes its time
		require.NoError(b.t, err, said)
		require.Less(b.t, took, 2*time.Second, "%s %s is refused, but late: %s", network, at, said)
	}
}

func (b *box) address() string {
	b.t.Helper()
	info, err := b.api.ContainerInspect(b.t.Context(), b.id)
	require.NoError(b.t, err)
	return info.NetworkSettings.Networks[b.g.network].IPAddress
}

func (b *box) gateway() string {
	b.t.Helper()
	info, err := b.api.ContainerInspect(b.t.Context(), b.id)
	require.NoError(b.t, err)
	return info.NetworkSettings.Networks[b.g.network].Gateway
}
