// Package reporttest loads reports in a headless Chromium for tests.
package reporttest

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Findings is what a browser found in a report.
type Findings struct {
	Title    string   // of the document, when all had been loaded
	Text     string   // of the page, without its frames
	Images   int      // of the page
	Broken   []string // images that could not be decoded, by their alternative text
	Frames   int
	Silent   []string // the beginnings of cells that have a frame whose script never spoke
	Tallest  int      // of the frames, pixels
	Blank    []string // the beginnings of cells that have a frame with scripts that drew nothing; found by Look only
	Paper    string   // the colour behind the page, as browsers write it
	Marks    []string // values of the attribute data-mark in the page: what hostile content might leave there
	Requests []string // what was asked for on the network, other than the page itself
}

//go:embed harness.html
var harness []byte

// loadTimeout bounds the start of a browser and the load of a page.
const loadTimeout = 4 * time.Minute

// Load opens a report in Chromium and says what it found there. Without a browser the test is skipped, or fails when
// DS_SANDBOX_REQUIRE names browser. Requests of the page to any path of {{HOST}} in it are listed in Findings.Requests: Load
// replaces that text by the address of a server of its own.
func Load(t testing.TB, page []byte) Findings {
	t.Helper()
	return open(t, page, "")
}

// Dark is Load for a reader whose system is dark.
func Dark(t testing.TB, page []byte) Findings {
	t.Helper()
	return open(t, page, "", "--blink-settings=preferredColorScheme=0")
}

// Look is Load, and then looks into the frames for figures that were not drawn. For that it opens the frames to the page, so
// the report must hold nothing hostile.
func Look(t testing.TB, page []byte) Findings {
	t.Helper()
	return open(t, page, "?look")
}

func open(t testing.TB, page []byte, query string, flags ...string) Findings {
	t.Helper()
	browser := find(t)
	var mu sync.Mutex
	var requests []string
	result := make(chan Findings, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			_, _ = w.Write(harness)
		case "/report":
			_, _ = w.Write(bytes.ReplaceAll(page, []byte("{{HOST}}"), []byte("http://"+r.Host)))
		case "/result":
			var found Findings
			if json.NewDecoder(r.Body).Decode(&found) == nil {
				result <- found
			}
		case "/favicon.ico":
			http.NotFound(w, r)
		default:
			mu.Lock()
			requests = append(requests, r.URL.String())
			mu.Unlock()
		}
	}))
	defer server.Close()

	ctx, cancel := context.WithTimeout(context.Background(), loadTimeout)
	defer cancel()
	dir := browserFolder(t)
	args := append(flags, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-extensions", "--disable-background-networking", "--user-data-dir="+dir, "--window-size=1200,30000", server.URL+"/"+query)
	cmd := exec.CommandContext(ctx, browser, args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "HOME="+dir)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = time.Second
	startGroup(cmd)
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var found Findings
	select {
	case found = <-result:
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		<-ended //nolint:errcheck // however it ends: killed by ctx at the latest
	case err := <-ended:
		require.Fail(t, "the browser did not load the report", "%v\n%s", err, said.String())
	}
	mu.Lock()
	defer mu.Unlock()
	found.Requests = requests
	return found
}

// browserFolder is where the browser keeps its files. Its helpers may outlive it for a moment.
func browserFolder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dsr")
	require.NoError(t, err)
	t.Cleanup(func() {
		require.Eventually(t, func() bool { return os.RemoveAll(dir) == nil }, 10*time.Second, 10*time.Millisecond)
	})
	return dir
}

// find is the browser's program.
func find(t testing.TB) string {
	t.Helper()
	names := []string{os.Getenv("DS_SANDBOX_BROWSER"), "chromium", "chromium-browser", "google-chrome", "chrome", "headless_shell"}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil && name != "" {
			return path
		}
	}
	const reason = "no Chromium: install the package chromium, or set DS_SANDBOX_BROWSER"
	if slices.Contains(strings.Split(os.Getenv("DS_SANDBOX_REQUIRE"), ","), "browser") {
		t.Fatal(reason)
	}
	t.Skip(reason)
	return ""
}
