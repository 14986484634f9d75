package main

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/server"
)

func TestServePrintsWhatToPasteAndEndsWithItsSignal(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		data := t.TempDir()
		c := start(t, nil, "serve", "--python", python, "--listen", "127.0.0.1:0", "--data-dir", data, "--json", "--max-spares", "-1")
		c.out.waitFor(t, "\npage: ", 1)
		lines := regexp.MustCompile(`(?m)^export E2B_API_URL=(http://127\.0\.0\.1:\d+)\nexport E2B_SANDBOX_URL=(\S+)\nexport E2B_API_KEY=(e2b_[0-9a-f]{40})$`).
			FindStringSubmatch(c.out.String())
		require.NotNil(t, lines, c.out.String())
		require.Equal(t, lines[1], lines[2])
		r, err := http.NewRequest(http.MethodGet, lines[1]+"/metrics", nil) //nolint:noctx // the command's own daemon answers
		require.NoError(t, err)
		r.Header.Set("X-API-KEY", lines[3])
		response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusOK, response.StatusCode)
		c.signals <- syscall.SIGTERM
		require.Equal(t, 0, c.wait(), c.err.String())
		require.Contains(t, c.err.String(), `"msg":"draining"`)
		require.NotContains(t, c.err.String(), lines[3])
		require.FileExists(t, filepath.Join(data, "key"))
	})
}

func TestServeChecksItsSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "serve.yaml")
	require.NoError(t, os.WriteFile(file, []byte("drain: 7s\nkeys:\n- {name: ada, key: 0123456789abcdef, sandboxes: 3}\n"), 0o600))
	t.Setenv("DS_SANDBOX_SERVE_STREAMS", "77")
	t.Setenv("DS_SANDBOX_LISTEN", "nonsense") // no variable of ours
	t.Setenv("DS_SANDBOX_TIMEOUT", "1s")      // of runs, not of sandboxes
	c := start(t, nil, "serve", "--check", "--config", file, "--sandboxes", "9", "--data-dir", t.TempDir())
	require.Equal(t, 0, c.wait(), c.err.String())
	for option, value := range map[string]string{"drain": "7s", "streams": "77", "sandboxes": "9", "listen": server.DefaultListen, "timeout": "-"} {
		require.Regexp(t, `(?m)^`+option+` +`+value+`$`, c.out.String())
	}
	require.Contains(t, c.out.String(), "key of ada")
	require.NotContains(t, c.out.String(), "0123456789abcdef")
}

func TestServeNamesMistakes(t *testing.T) {
	for says, test := range map[string]struct {
		args []string
		env  map[string]string
	}{
		"--drain: ":                     {args: []string{"--drain", "soon"}},
		"DS_SANDBOX_SERVE_STREAMS: ":    {env: map[string]string{"DS_SANDBOX_SERVE_STREAMS": "-1"}},
		"can be reached from elsewhere": {args: []string{"--listen", "0.0.0.0:0"}},
		"key-file: open":                {args: []string{"--key-file", "/no/such/key"}},
		"/no/such.yaml":                 {args: []string{"--config", "/no/such.yaml"}},
		"tls-cert: open":                {args: []string{"--tls-cert", "/no/cert", "--tls-key", "/no/key"}},
		"it has 5 characters":           {args: []string{"--key", "short"}},
	} {
		for name, value := range test.env {
			t.Setenv(name, value)
		}
		c := start(t, nil, append([]string{"serve", "--check", "--data-dir", t.TempDir()}, test.args...)...)
		require.Equal(t, exitUsage, c.wait(), says)
		require.Contains(t, c.err.String(), says)
		require.NotContains(t, c.err.String(), "short")
		for name := range test.env {
			require.NoError(t, os.Unsetenv(name))
		}
	}
}
