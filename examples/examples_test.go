package examples_test

import (
	"bytes"
	"context"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/backends/docker/dockertest"
	"github.com/ds-sandbox/ds-sandbox/report/reporttest"
)

// examples says what each program prints, among other things.
var examples = map[string][]string{
	"quickstart": {"mean of [3, 4, 5]", "value: 4.0 success: true"},
	"async":      {"printed: step 0", "printed: step 2", "value: 2", "squares: [49 64 81]"},
	"streaming":  {"out epoch 1: loss 1.000", "err drawing", "saved as loss.png", "out done"},
	"errors": {
		"raised: ZeroDivisionError", "timed out: ended by interrupt variables lost: false", "still there: 42",
		"died with exit code 7", "x after the death: False", "no kernel fortran77",
	},
	"files": {"the run created people.csv", "ada,36", "streamed 24 bytes", "dir out", "outside: true"},
	"commands": {
		`live: "one\n`, `err "two\n"`, "failed: true with 2", "timed out: true", "heard you", "terminal of 24 80",
	},
	"limits": {
		"memory held by", "ended by the limit of memory: memory limit reached: 600 MiB allowed", "afresh: 1000000", "paused: true",
		"kept: 499999500000",
	},
	"branches": {"every 2 th: 500000", "every 4 th: 250000", "died: true undone: true", "kept: 1000000"},
	"charts": {
		"line chart 'Loss' of Cross entropy (nats) over Epoch with 2 series of 4 points: train 0.9 to 0.1, test 0.9 to 0.4", "unit: nats",
		"table of 8 rows and 2 columns", "index,train,test", "max,0.9,0.9",
	},
	"complete": {"Kyiv 200", "Lima 155", "total: 355", "city,sales"},
	"modes":    {"local: local, because asked for", "docker: "},
	"config":   {"test fast now", "'Ada' of me"},
	"many":     {"sandbox 5: 3.1", "mean of 6 sandboxes: 3.1"},
	"gallery":  {"cells in"},
	"analysis": {"569 tumours, 30 measurements", "epoch 20", "picture saved as", "strongest weights:", "worst texture"},
}

func TestExamplesRunAsTheyStand(t *testing.T) {
	python := backendtest.Pythons(t)[0]
	folders, err := filepath.Glob("*/main.go")
	require.NoError(t, err)
	require.Len(t, folders, len(examples), "an example without a test, or the other way round")
	bin := build(t)
	for name, wants := range examples {
		t.Run(name, func(t *testing.T) { runExample(t, bin, name, wants, "DS_SANDBOX_PYTHON="+python) })
	}
}

// TestExamplesRunInContainers runs those that leave it to the person where sandboxes live.
func TestExamplesRunInContainers(t *testing.T) {
	agent := dockertest.Config(t).Agent
	bin := build(t)
	for name, wants := range examples {
		if name == "branches" {
			wants = append(slices.Clone(wants), "one after the other: ") // containers have checkpoints, and no forks
		}
		if name == "modes" || name == "config" { // which say it themselves
			continue
		}
		t.Run(name, func(t *testing.T) {
			runExample(t, bin, name, wants, "DS_SANDBOX_BACKEND=docker", "DS_SANDBOX_AGENT="+agent)
		})
	}
}

// build builds all examples into a folder.
func build(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	out, err := exec.Command("go", "build", "-buildvcs=false", "-o", bin, "./...").CombinedOutput()
	require.NoError(t, err, string(out))
	return bin
}

// runExample runs one in a folder of its own and looks at what it prints and draws.
func runExample(t *testing.T, bin, name string, wants []string, env ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	dir := t.TempDir()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, name))
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	for _, want := range wants {
		require.Contains(t, string(out), want)
	}
	pictures, err := filepath.Glob(filepath.Join(dir, "*.png"))
	require.NoError(t, err)
	for _, picture := range pictures {
		data, err := os.ReadFile(picture)
		require.NoError(t, err)
		decoded, err := png.Decode(bytes.NewReader(data))
		require.NoError(t, err)
		require.Greater(t, decoded.Bounds().Dx(), 200)
	}
	if name == "gallery" {
		checkGallery(t, filepath.Join(dir, "out"), string(out))
	}
	if name == "analysis" || name == "streaming" {
		require.Len(t, pictures, 1)
	}
}

// galleryCharts are the charts that each library of the gallery draws, by their digests' first words.
var galleryCharts = map[string][]string{
	"matplotlib": {"line", "scatter", "bar", "pie", "box", "figure"},
	"pandas":     {"line", "scatter", "bar", "pie", "box", "figure"},
	"seaborn":    {"line", "scatter", "bar", "box", "figure"},
	"plotly":     {"line", "scatter", "bar", "pie", "box", "bar", "figure"},
	"altair":     {"line", "scatter", "bar", "pie", "box", "bar", "figure"},
	"bokeh":      {"line", "scatter", "bar", "pie", "box", "figure"},
}

// checkGallery looks at what the gallery says of its charts, and at its page in a browser.
func checkGallery(t *testing.T, dir, said string) {
	t.Helper()
	drawn := map[string][]string{}
	missing := ""
	for line := range strings.Lines(said) {
		library, digest, _ := strings.Cut(line, ": ")
		if library == "not installed" {
			missing = digest
		}
		if galleryCharts[library] != nil {
			drawn[library] = append(drawn[library], strings.Fields(digest)[0])
			if strings.HasPrefix(digest, "figure ") {
				require.Contains(t, digest, " charts", "several in one")
			}
		}
	}
	for library, kinds := range galleryCharts {
		if !strings.Contains(missing, library) {
			require.Equal(t, kinds, drawn[library], library)
		}
	}
	page, err := os.ReadFile(filepath.Join(dir, "gallery.html"))
	require.NoError(t, err)
	found := reporttest.Look(t, page)
	require.GreaterOrEqual(t, found.Images, 11, "of matplotlib and pandas alone")
	require.Empty(t, found.Broken)
	require.GreaterOrEqual(t, found.Frames, 1, "a table at least")
	require.Empty(t, found.Silent)
	require.Empty(t, found.Blank)
	require.Empty(t, found.Requests)
	require.Contains(t, found.Text, "pie chart 'Bottles' with 3 slices", "captions are seen")
}

func TestProgramsOfTheReadmeAreTheExamples(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	programs := 0
	for block := range strings.SplitSeq(string(readme), "```go\n") {
		program, _, found := strings.Cut(block, "\n```")
		if !found || !strings.Contains(program, "package main\n") || !strings.HasPrefix(program, "// Command ") {
			continue
		}
		programs++
		name := strings.Fields(program)[2]
		source, err := os.ReadFile(filepath.Join(name, "main.go"))
		require.NoError(t, err)
		require.Equal(t, string(source), program+"\n", "README.md and examples/%s differ", name)
	}
	require.Equal(t, 12, programs)
}
