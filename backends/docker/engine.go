package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"
)

// engine is a connection to a container engine.
type engine struct {
	api      *client.Client
	endpoint endpoint
	info     system.Info
}

// oldestAPI is that of the first engine that is known to do, 20.10.
const oldestAPI = "1.41"

// answerTime bounds the first contact with an engine.
const answerTime = 15 * time.Second

// connect reaches the engine. The caller closes it. Errors say what to do.
func connect(ctx context.Context, host string) (*engine, error) {
	e := new(engine)
	var err error
	if e.endpoint, err = findEndpoint(host); err != nil {
		return nil, err
	}
	opts := []client.Opt{client.WithVersionFromEnv(), client.WithAPIVersionNegotiation(), client.WithUserAgent("ds-sandbox")}
	if strings.HasPrefix(e.endpoint.Host, "ssh://") {
		dial, err := sshDialer(e.endpoint.Host)
		if err != nil {
			return nil, err
		}
		// The name is never resolved: every connection goes through the dialer.
		opts = append(opts, client.WithHost("http://"+client.DummyHost), client.WithDialContext(dial))
	} else {
		opts = append(opts, e.endpoint.options()...)
	}
	if e.api, err = client.NewClientWithOpts(opts...); err != nil {
		return nil, fmt.Errorf("docker: engine at %s (%s): %w", e.endpoint.Host, e.endpoint.Source, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, answerTime, fmt.Errorf("no answer within %v", answerTime))
	defer cancel()
	if e.info, err = e.api.Info(ctx); err != nil {
		return nil, errors.Join(e.unreachable(ctx, err), e.api.Close())
	}
	if e.info.OSType != "linux" {
		err = fmt.Errorf("docker: the engine at %s runs %s containers: switch it to Linux containers", e.endpoint.Host, e.info.OSType)
		return nil, errors.Join(err, e.api.Close())
	}
	if version := e.api.ClientVersion(); older(version, oldestAPI) {
		err = fmt.Errorf("docker: the engine at %s is version %s (API %s): use 20.10 or newer", e.endpoint.Host, e.info.ServerVersion, version)
		return nil, errors.Join(err, e.api.Close())
	}
	return e, nil
}

func (e endpoint) options() []client.Opt {
	opts := []client.Opt{client.WithHost(e.Host)}
	if e.TLS == "" {
		return opts
	}
	ca := ""
	if e.Verify {
		ca = filepath.Join(e.TLS, "ca.pem")
	}
	return append([]client.Opt{client.WithTLSClientConfig(ca, filepath.Join(e.TLS, "cert.pem"), filepath.Join(e.TLS, "key.pem"))}, opts...)
}

// older compares versions such as 1.41.
func older(version, than string) bool {
	var a, b [2]int
	_, _ = fmt.Sscanf(version, "%d.%d", &a[0], &a[1])
	_, _ = fmt.Sscanf(than, "%d.%d", &b[0], &b[1])
	return a[0] < b[0] || a[0] == b[0] && a[1] < b[1]
}

// UnreachableError says that no engine answers.
type UnreachableError struct {
	Host   string
	Source string // what named the host
	Remedy string
	Err    error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("docker: no engine answers at %s (%s): %v; %s", e.Host, e.Source, e.Err, e.Remedy)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

func (e *engine) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	u := &UnreachableError{Host: e.endpoint.Host, Source: e.endpoint.Source, Err: err}
	socket, isSocket := strings.CutPrefix(u.Host, "unix://")
	switch _, statErr := os.Stat(socket); {
	case isSocket && errors.Is(statErr, fs.ErrNotExist):
		u.Err = fmt.Errorf("%s: %w", socket, fs.ErrNotExist)
		u.Remedy = "install Docker Engine and start it, or name another engine with DOCKER_HOST or `docker context use`"
	case isSocket && (errors.Is(err, fs.ErrPermission) || denied(socket)):
		u.Err = fmt.Errorf("%s: %w", socket, fs.ErrPermission)
		u.Remedy = "add yourself to the group that owns the socket (`sudo usermod -aG docker $USER`, then log in anew)"
	case isSocket:
		u.Remedy = "start it (`sudo systemctl start docker`), or name another engine with DOCKER_HOST"
	default:
		u.Remedy = "check that name, the network and, for tcp, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH"
	}
	return u
}

func denied(socket string) bool { return syscall.Access(socket, 2|4) == syscall.EACCES }

func (e *engine) close() error {
	return e.api.Close()
}

// gone reports whether an error says that what was asked for does not exist.
func gone(err error) bool { return errdefs.IsNotFound(err) }

// architecture is the engine's, by Go's name.
func (e *engine) architecture() string {
	switch e.info.Architecture {
	case "x86_64":
		return "amd64"
	case "aarch64", "arm64":
		return "arm64"
	}
	return e.info.Architecture
}

// bare is an error of the engine without the client's words before it.
func bare(err error) string {
	return strings.TrimPrefix(err.Error(), "Error response from daemon: ")
}

// log is the end of what a container's init has printed.
func (e *engine) log(ctx context.Context, id string) string {
	r, err := e.api.ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: "20"})
	if err != nil {
		return ""
	}
	defer func() { _ = r.Close() }()
	var buf bytes.Buffer
	_, _ = stdcopy.StdCopy(&buf, &buf, io.LimitReader(r, maxLog))
	return strings.TrimSpace(buf.String())
}
