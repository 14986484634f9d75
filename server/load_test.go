package server

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/server/access"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "serve.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func lookup(values map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := values[name]
		return v, ok
	}
}

func TestFlagsWinOverVariablesOverTheFile(t *testing.T) {
	from := Sources{
		Base: Config{DataDir: "/base"},
		File: writeFile(t, "listen: 127.0.0.1:1\ndrain: 1s\nstreams: 1\nsandboxes: 7\ndata_dir: data\nimages: [a, b]\nnetwork: bridge\n"),
		Lookup: lookup(map[string]string{
			"DS_SANDBOX_SERVE_DRAIN": "2s", "DS_SANDBOX_SERVE_STREAMS": "2", "DS_SANDBOX_SERVE_DOMAIN": "", "DS_SANDBOX_NETWORK": "allow",
		}),
		Flags: map[string]string{"streams": "3"},
	}
	c, err := Load(from)
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:1", c.Listen)
	require.Equal(t, 2*time.Second, c.Drain)
	require.Equal(t, 3, c.Streams)
	require.Equal(t, 7, c.Sandboxes)
	require.Equal(t, filepath.Join(filepath.Dir(from.File), "data"), c.DataDir)
	require.Equal(t, []string{"a", "b"}, c.Images)
	require.EqualValues(t, "allow", c.Engine.Network)
}

// sample is a value that an option takes.
func sample(o *Option) string {
	if o.path {
		return "/a/b"
	}
	for _, value := range []string{"local", "compatible", "bridge", "90s", "7", "127.0.0.1:7"} {
		if c := new(Config); o.set(c, value) == nil && o.get(c) != "" {
			return value
		}
	}
	return ""
}

func TestEveryOptionIsSaidInAllPlacesByOneName(t *testing.T) {
	seen := make(map[string]bool)
	for _, o := range Options() {
		value := sample(&o)
		require.NotEmpty(t, value, o.Name)
		require.NotEmpty(t, o.Usage, o.Name)
		require.False(t, seen[o.Name])
		seen[o.Name] = true
		want := new(Config)
		require.NoError(t, o.set(want, value))
		for source, from := range map[string]Sources{
			"file":     {File: writeFile(t, o.Key()+": "+value+"\n")},
			"variable": {Lookup: lookup(map[string]string{o.Variable(): value})},
			"flag":     {Flags: map[string]string{o.Name: value}},
		} {
			c, err := Load(from)
			var problem *OptionError
			if err != nil { // together with others it would do
				require.ErrorAs(t, err, &problem, "%s by %s: %v", o.Name, source, err)
			}
			require.Equal(t, o.get(want), o.get(&c), "%s by %s", o.Name, source)
		}
	}
}

func TestMistakesAreNamedAllAtOnce(t *testing.T) {
	_, err := Load(Sources{
		File:   writeFile(t, "drain: soon\nsandboxes: -1\nnonsense: 1\nstreams: {a: b}\nkeys:\n- {name: ada}\n- {name: bob, key_file: missing}\ntemplates:\n- {id: a, memory: lots}\n"),
		Lookup: lookup(map[string]string{"DS_SANDBOX_SERVE_KEY": "secret\nsecret"}),
		Flags:  map[string]string{"backend": "cloud"},
	})
	for _, says := range []string{
		`line 1: drain: "soon" is no duration`, `line 2: sandboxes: "-1" is no count`, `line 3: "nonsense" is no option`,
		"line 4: streams: use a value", `number 1: "ada": it needs either key or key_file`, `"bob": key_file: open`,
		`templates: number 1: "a": memory: "lots" is no size`, "DS_SANDBOX_SERVE_KEY: it can't be a key",
		`--backend: "cloud" is not known: use one of auto, local, docker`,
	} {
		require.ErrorContains(t, err, says)
	}
	require.NotContains(t, err.Error(), "secret")

	_, err = Load(Sources{File: filepath.Join(t.TempDir(), "missing.yaml")})
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = Load(Sources{File: writeFile(t, string(make([]byte, maxFile+1)))})
	require.ErrorContains(t, err, "more than 1048576 bytes")
}

func TestFileHasKeysWithLimitsAndTemplates(t *testing.T) {
	path := writeFile(t, `
listen: 0.0.0.0:3000
keys:
  - {name: ada, key: e2b_0123456789, sandboxes: 2, memory: 4G, creates_per_minute: 30, streams: 9}
  - {name: bob, key_file: bob.key}
templates:
  - {id: big, aliases: [large], image: "img:1", memory: 8G, disk: 1T, cpus: 2.5}
`)
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(path), "bob.key"), []byte("0123456789abcdef\n"), 0o600))
	c, err := Load(Sources{Base: Config{DataDir: t.TempDir()}, File: path})
	require.NoError(t, err)
	require.Len(t, c.Keys, 2)
	require.Equal(t, fleet.Limits{Sandboxes: 2, Memory: 4 << 30, CreatesPerMinute: 30, Streams: 9}, c.Keys[0].Owner.Limits)
	require.Equal(t, "0123456789abcdef", c.Keys[1].Secret)
	require.Equal(t, "img:1", c.Templates[0].Image)
	require.EqualValues(t, 8<<30, c.Templates[0].Limits.Memory)
	require.InDelta(t, 2.5, c.Templates[0].Limits.CPUs, 0)
	require.ErrorContains(t, c.Check(), "key of ada: it has 14 characters, fewer than 16")
}

func TestListeningElsewhereWantsAKeyOfOnesOwn(t *testing.T) {
	for listen, local := range map[string]bool{
		"127.0.0.1:3000": true, "localhost:1": true, "[::1]:0": true, "127.1.2.3:1": true, "[::ffff:127.0.0.1]:1": true,
		":3000": false, "0.0.0.0:3000": false, "[::]:1": false, "192.168.1.1:1": false, "example.com:1": false, "localhost.evil.com:1": false,
	} {
		_, err := Config{Listen: listen, DataDir: "/x"}.complete()
		if local {
			require.NoError(t, err, listen)
		} else {
			require.ErrorContains(t, err, "can be reached from elsewhere: name a key of yours", listen)
		}
		for _, c := range []Config{{Key: "x"}, {KeyFile: "x"}, {Keys: []access.Key{{}}}} {
			c.Listen, c.DataDir = listen, "/x"
			_, err = c.complete()
			require.NoError(t, err, listen)
		}
	}
	for says, c := range map[string]Config{
		"is no address": {Listen: "3000"},
		"a certificate and its key come together":   {TLSCert: "a"},
		"there is a certificate already":            {TLSCert: "a", TLSKey: "b", TLSSelfSigned: "a.b"},
		`tls-self-signed: "*.a.b" is no domain`:     {TLSSelfSigned: "*.a.b"},
		`tls-self-signed: "../../etc" is no domai`:  {TLSSelfSigned: "../../etc"},
		`domain: "-a:1" is no domain`:               {Domain: "-a:1"},
		`"70000" is no port`:                        {Listen: "127.0.0.1:70000"},
		"timeout: 48h0m0s is more than the 24h0m0s": {Timeout: 48 * time.Hour},
		"5m0s is more than the 1m0s of max-timeout": {MaxTimeout: time.Minute},
		`images: "[a" is no pattern`:                {Images: []string{"a*", "[a"}},
		`origins: "example.com" is no origin`:       {Origins: []string{"*", "http://a.b:1", "example.com"}},
		`origins: "http://a.b/" is no origin`:       {Origins: []string{"http://a.b/"}},
	} {
		c.DataDir = "/x"
		_, err := c.complete()
		require.ErrorContains(t, err, says)
	}
	c, err := Config{Listen: "127.0.0.1:8443", TLSSelfSigned: "sbx.test", DataDir: "/x"}.complete()
	require.NoError(t, err)
	require.Equal(t, "sbx.test:8443", c.Domain)
}

func FuzzFile(f *testing.F) {
	for _, seed := range []string{
		"", "listen: 127.0.0.1:1\n", "keys: [{name: a, key: b}]\n", "keys: &a [*a]\n", "a: &x [1]\nb: *x\n", "? [a]\n: b\n", "- 1\n",
		"templates: [{id: a, cpus: .nan}]\n", "images: [a, [b]]\n", "drain: !!binary aGk=\n", "<<: {listen: x}\n", "listen: ~\n", "%YAML 9\n---\n",
	} {
		f.Add([]byte(seed))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		c := Config{DataDir: dir}
		if parseFile(&c, data, dir) != nil {
			return
		}
		for i := range options {
			options[i].get(&c)
		}
		if complete, err := c.complete(); err == nil && len(complete.Keys) == 0 && complete.Key == "" && complete.KeyFile == "" {
			host, _, err := net.SplitHostPort(complete.Listen)
			require.NoError(t, err)
			require.True(t, isLoopback(host), "no file opens the daemon without a key")
		}
	})
}
