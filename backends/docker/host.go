package docker

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/docker/client"
)

// endpoint is how an engine is reached.
type endpoint struct {
	Host   string // as DOCKER_HOST has it
	Source string // what says so, for messages
	// TLS is a folder with ca.pem, cert.pem and key.pem; empty for none.
	TLS    string
	Verify bool // the engine's certificate
}

// findEndpoint goes the ways of the docker command: the host that was asked for, DOCKER_HOST, the context of
// DOCKER_CONTEXT or of its configuration, the usual socket.
func findEndpoint(asked string) (endpoint, error) {
	tls := endpoint{TLS: os.Getenv(client.EnvOverrideCertPath), Verify: os.Getenv(client.EnvTLSVerify) != ""}
	if asked != "" {
		tls.Host, tls.Source = asked, "Config.Host"
		return tls, nil
	}
	if host := os.Getenv(client.EnvOverrideHost); host != "" {
		tls.Host, tls.Source = host, client.EnvOverrideHost
		return tls, nil
	}
	dir := os.Getenv("DOCKER_CONFIG")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return endpoint{Host: client.DefaultDockerHost, Source: "default"}, nil
		}
		dir = filepath.Join(home, ".docker")
	}
	name, source := os.Getenv("DOCKER_CONTEXT"), "DOCKER_CONTEXT"
	if name == "" {
		source = filepath.Join(dir, "config.json")
		var config struct {
			CurrentContext string `json:"currentContext"`
		}
		if err := readJSON(source, &config); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return endpoint{}, fmt.Errorf("docker: %s: %w", source, err)
		}
		name = config.CurrentContext
	}
	if name == "" || name == "default" {
		return endpoint{Host: client.DefaultDockerHost, Source: "default"}, nil
	}
	return readContext(dir, name, source)
}

// readContext is the endpoint of a context of the docker command.
func readContext(dir, name, source string) (endpoint, error) {
	sum := sha256.Sum256([]byte(name))
	folder := hex.EncodeToString(sum[:])
	var meta struct {
		Endpoints map[string]struct {
			Host          string
			SkipTLSVerify bool
		}
	}
	if err := readJSON(filepath.Join(dir, "contexts", "meta", folder, "meta.json"), &meta); err != nil {
		return endpoint{}, fmt.Errorf("docker: context %q of %s: %w; see `docker context ls`", name, source, err)
	}
	docker, ok := meta.Endpoints["docker"]
	if !ok || docker.Host == "" {
		return endpoint{}, fmt.Errorf("docker: context %q of %s names no engine; see `docker context inspect %s`", name, source, name)
	}
	e := endpoint{Host: docker.Host, Source: "context " + name, Verify: !docker.SkipTLSVerify}
	tls := filepath.Join(dir, "contexts", "tls", folder, "docker")
	if _, err := os.Stat(filepath.Join(tls, "ca.pem")); err == nil {
		e.TLS = tls
	}
	return e, nil
}

// local reports whether the engine runs on this machine, so that paths mean the same here and there.
func (e endpoint) local() bool {
	return strings.HasPrefix(e.Host, "unix://") || strings.HasPrefix(e.Host, "npipe://")
}

// maxConfig bounds the docker command's files, bytes.
const maxConfig = 4 << 20

func readJSON(name string, v any) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if info.Size() > maxConfig {
		return fmt.Errorf("%d bytes are too many", info.Size())
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}
