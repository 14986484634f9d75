package ui_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/server/ui"
	"github.com/ds-sandbox/ds-sandbox/server/ui/uitest"
)

func get(t *testing.T, path string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	ui.New().ServeHTTP(w, r)
	return w.Result()
}

func TestThePageIsServedWithItsPolicy(t *testing.T) {
	for _, path := range []string{"/", "/ui/", "/ui/app.js", "/ui/base.css", "/ui/charts/axes.js", "/favicon.ico"} {
		r := get(t, path)
		require.Equal(t, http.StatusOK, r.StatusCode, path)
		require.NotEmpty(t, r.Header.Get("Content-Type"), path)
		policy := r.Header.Get("Content-Security-Policy")
		require.Contains(t, policy, "default-src 'none'; script-src 'self';", path)
		require.Contains(t, policy, "frame-ancestors 'none'", path)
		require.NotContains(t, policy, "unsafe", path)
		require.NotContains(t, policy, "http", path)
		require.Equal(t, "no-referrer", r.Header.Get("Referrer-Policy"))
		require.Equal(t, http.StatusNotModified, get(t, path, "If-None-Match", r.Header.Get("Etag")).StatusCode)
	}
	frame := get(t, "/ui/frame.html").Header.Get("Content-Security-Policy")
	require.True(t, strings.HasPrefix(frame, "sandbox allow-scripts; default-src 'none';"), frame)
	require.NotContains(t, frame, "allow-same-origin")
	for _, path := range []string{"/ui/nope.js", "/ui/../handler.go", "/ui/page/app.js"} {
		require.Equal(t, http.StatusNotFound, get(t, path).StatusCode, path)
	}
}

// What the policy stands on: the page makes no markup of strings, and names no other host.
func TestThePageStandsAlone(t *testing.T) {
	err := filepath.WalkDir("page", func(name string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Base(name) == "frame.html" {
			return err
		}
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		for _, bad := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "srcdoc", "eval(", "new Function", "<script>"} {
			if filepath.Base(name) == "outputs.js" && bad == "<script>" {
				continue // of a frame
			}
			require.NotContains(t, string(data), bad, name)
		}
		for line := range strings.Lines(string(data)) {
			if i := strings.Index(line, "http"); i >= 0 {
				require.Regexp(t, `https\?:|http://127\.0\.0\.1|www\.w3\.org/2000/svg|\^http|cdn|HTTP`, line, name)
			}
		}
		return nil
	})
	require.NoError(t, err)
}

func TestTheClientIsThatOfTheExamples(t *testing.T) {
	dir := t.TempDir()
	said, err := uitest.TypeScript(t, "-p", uitest.Config(), "--outDir", dir)
	require.NoError(t, err, said)
	made, err := os.ReadFile(filepath.Join(dir, "client.js"))
	require.NoError(t, err)
	kept, err := os.ReadFile("page/client.js")
	require.NoError(t, err)
	require.Equal(t, string(made), string(kept), "run `make ui`")
}

func TestThePageInABrowser(t *testing.T) {
	browser := uitest.Browser(t)
	uitest.Program(t, "page.mjs", "URL="+uitest.Open(t), "KEY="+uitest.Key, "BROWSER="+browser)
}
