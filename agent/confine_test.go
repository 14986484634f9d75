package agent

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// makeTree makes folders below a new one, and returns that without links on its way.
func makeTree(t *testing.T, folders ...string) string {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	for _, folder := range folders {
		require.NoError(t, os.MkdirAll(filepath.Join(root, folder), 0o755))
	}
	return root
}

func TestHiddenFoldersAreLeftOutOfWhatIsReadable(t *testing.T) {
	root := makeTree(t, "sys/bin", "sys/home/ada/.ssh", "sys/home/bob", "other")
	require.NoError(t, os.Symlink(filepath.Join(root, "other"), filepath.Join(root, "sys", "link")))
	at := func(name string) string { return filepath.Join(root, name) }
	require.Equal(t, []string{at("sys/bin"), at("sys/home/bob")}, without(at("sys"), []string{at("sys/home/ada"), at("else")}))
	require.Equal(t, []string{at("sys")}, without(at("sys"), []string{at("sys2"), at("sy"), root}))
	require.Empty(t, without(at("sys"), []string{at("sys")}))
	require.Equal(t, []string{at("sys/home/ada/.ssh")}, without(at("sys/home/ada/.ssh"), []string{at("sys/home/ada")}), "named by itself")
	require.Empty(t, without(at("none"), []string{at("none/below")}))
}

func TestBoundsGrowWithoutChangingWhatWasHandedOut(t *testing.T) {
	root := makeTree(t, "a/b", "c")
	b := &bounds{rules: new(confinement)}
	b.readable(filepath.Join(root, "a"), filepath.Join(root, "none"), "relative", "", "/")
	before := b.current()
	b.readable(filepath.Join(root, "a/b"), filepath.Join(root, "c"))
	require.Equal(t, []string{filepath.Join(root, "a")}, before.Read)
	require.Equal(t, []string{filepath.Join(root, "a"), filepath.Join(root, "c")}, b.current().Read)
	same := b.current()
	b.readable(filepath.Join(root, "c"))
	require.Same(t, same, b.current())
	var none *bounds
	none.readable(root)
	require.Nil(t, none.current())
}

func TestKeysBesideProgramsAreNoPartOfAnInstallation(t *testing.T) {
	root := makeTree(t, ".local/bin", ".local/share/keyrings", "conda/conda-meta")
	require.NotContains(t, installation(filepath.Join(root, ".local")), filepath.Join(root, ".local", "share"))
	require.Contains(t, installation(filepath.Join(root, ".local")), filepath.Join(root, ".local", "lib"))
	require.Equal(t, []string{filepath.Join(root, "conda")}, installation(filepath.Join(root, "conda")))
}

func TestWhatAKernelspecNamesIsReadable(t *testing.T) {
	root := makeTree(t, "r/bin", "r/lib", "depot", "spec", "packages/src")
	at := func(name string) string { return filepath.Join(root, name) }
	require.NoError(t, os.WriteFile(at("r/bin/R"), nil, 0o755))
	require.NoError(t, os.WriteFile(at("packages/src/kernel.jl"), nil, 0o644))
	b := &bounds{rules: new(confinement), hidden: []string{root}}
	b.readable(namedFolders(&messaging.KernelSpec{
		ResourceDir: at("spec"), Argv: []string{at("r/bin/R"), "-e", at("packages/src/kernel.jl"), "{connection_file}"},
		Env: map[string]string{"DEPOT": at("depot") + ":" + root, "N": "1"},
	})...)
	require.ElementsMatch(t, []string{at("spec"), at("r/bin"), at("r/lib"), at("packages/src/kernel.jl"), at("packages/src"), at("depot")}, b.current().Read)
}

func TestHomesAndNeighboursAreHidden(t *testing.T) {
	home := makeTree(t)
	t.Setenv("HOME", home)
	hidden := hiddenFolders(Place{Workspace: "/w/ws-1", Private: "/p/env-1", Runtime: "/r/e1/1"}, "/r/e1")
	require.Subset(t, hidden, []string{home, "/root", "/w", "/p", "/r/e1", "/r"})
	t.Setenv("HOME", "/usr")
	require.NotContains(t, hiddenFolders(Place{}, "/r/e1"), "/usr", "of a service's user")
}

func TestProgramsOfAnInstanceStayWithinBounds(t *testing.T) {
	if _, err := Confinement(); err != nil {
		require.ErrorIs(t, err, backends.ErrUnsupported)
		t.Skip(err)
	}
	a := newAgent(t)
	in := openPlace(t, a)
	require.Equal(t, backends.IsolationNone, in.Isolation())
	in.bounds = a.newBounds(in.place, makeTree(t))
	require.Equal(t, backends.IsolationFiles, in.Isolation())
	root := in.bounds.current().Write[3]
	status, err := start(t, in, "cd \"$HOME\" && echo x >f && echo x >\"$TMPDIR/f\" && echo x >"+root+"/f").Wait(t.Context())
	require.NoError(t, err)
	require.Zero(t, status.Code)
	outside := filepath.Join(t.TempDir(), "f")
	status, err = start(t, in, "echo x >"+outside).Wait(t.Context())
	require.NoError(t, err)
	require.NotZero(t, status.Code)
	require.NoFileExists(t, outside)
}

// BenchmarkBounds measures what a sandbox's rules cost to find, and what they add to a program's start: compare with
// BenchmarkStart.
func BenchmarkBounds(b *testing.B) {
	a := newAgent(b)
	place := openPlace(b, a).place
	for b.Loop() {
		a.newBounds(place)
	}
}

func BenchmarkStart(b *testing.B) {
	for _, isolation := range []backends.Isolation{backends.IsolationNone, backends.IsolationFiles} {
		b.Run(string(isolation), func(b *testing.B) {
			a := newAgent(b)
			in := openPlace(b, a)
			if isolation == backends.IsolationFiles {
				in.bounds = a.newBounds(in.place)
			}
			null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
			require.NoError(b, err)
			defer func() { _ = null.Close() }()
			k, err := in.currentKeeper(b.Context())
			require.NoError(b, err)
			for b.Loop() {
				p, err := k.start(b.Context(), program{argv: []string{"/bin/true"}, dir: "/"}, null, null, null)
				require.NoError(b, err)
				_, err = p.Wait(b.Context())
				require.NoError(b, err)
			}
		})
	}
}
