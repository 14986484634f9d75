package docker

import (
	"archive/tar"
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"time"

	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/filters"
	api "github.com/docker/docker/api/types/image"

	"github.com/ds-sandbox/ds-sandbox/backends/docker/agentbinary"
	"github.com/ds-sandbox/ds-sandbox/images"
)

// BuildOptions of Build. Nil and zero fields are the defaults.
type BuildOptions struct {
	Base string // image to start from, Debian-like; debian:bookworm-slim
	// Args of the build, besides those that the environment gives: see BuildVariables.
	Args map[string]string
	// CA is a file of certificates that pip is to trust during the build, instead of the image's own; that of PIP_CERT,
	// REQUESTS_CA_BUNDLE or SSL_CERT_FILE. They do not stay in the image.
	CA      string
	NoCache bool
	// Progress hears the build's output, line by line. It must not block.
	Progress func(line string)
}

// BuildVariables are variables of the environment that a build takes as its arguments where they are set.
var BuildVariables = []string{
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
	"APT_MIRROR", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT",
}

// Build makes our image on the engine and returns what it made. The first time takes minutes; a new agent alone takes a second.
func Build(ctx context.Context, config Config, opts *BuildOptions) (*ImageInfo, error) {
	o := BuildOptions{}
	if opts != nil {
		o = *opts
	}
	e, err := connect(ctx, config.Host)
	if err != nil {
		return nil, err
	}
	defer func() { _ = e.close() }()
	binary, err := agentbinary.Find(e.architecture(), config.Agent)
	if err != nil {
		return nil, fmt.Errorf("docker: build image: %w", err)
	}
	dir, err := buildContext(binary, o.certificates())
	if err != nil {
		return nil, fmt.Errorf("docker: build image: %w", err)
	}
	args := map[string]*string{}
	for _, name := range BuildVariables {
		if value, ok := os.LookupEnv(name); ok {
			args[name] = &value
		}
	}
	given := maps.Clone(o.Args)
	if given == nil {
		given = make(map[string]string)
	}
	given["BASE"], given["RECIPE"] = cmp.Or(o.Base, given["BASE"], "debian:bookworm-slim"), Recipe()
	given["AGENT"], given["PROTOCOL"] = binary.Hash, protocol
	for name, value := range given {
		args[name] = &value
	}
	tags := []string{ImageName + ":" + Recipe(), ImageName + ":latest"}
	response, err := e.api.ImageBuild(ctx, dir, build.ImageBuildOptions{
		Tags: tags, Dockerfile: "Dockerfile", BuildArgs: args, Remove: true, ForceRemove: true, NoCache: o.NoCache,
	})
	if err != nil {
		return nil, fmt.Errorf("docker: build image: %s", bare(err))
	}
	defer func() { _ = response.Body.Close() }()
	if err := follow(response.Body, o.Progress); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("docker: build image: %w", err)
	}
	img, err := e.findImage(ctx, tags[0])
	if err != nil {
		return nil, err
	}
	e.removeReplaced(ctx)
	return e.describe(ctx, img)
}

// removeReplaced removes images of ours whose names a newer build has taken. One that a container uses stays, and layers that others have.
func (e *engine) removeReplaced(ctx context.Context) {
	list, err := e.api.ImageList(ctx, api.ListOptions{
		Filters: filters.NewArgs(filters.Arg("label", labelImage+"="+imageKernel), filters.Arg("dangling", "true")),
	})
	if err != nil {
		return
	}
	for _, old := range list {
		_, _ = e.api.ImageRemove(ctx, old.ID, api.RemoveOptions{PruneChildren: true})
	}
}

func (e *engine) describe(ctx context.Context, img *image) (*ImageInfo, error) {
	found, err := e.api.ImageInspect(ctx, img.ID)
	if err != nil {
		return nil, fmt.Errorf("docker: image %s: %w", img.Name, err)
	}
	info := &ImageInfo{
		ID: found.ID, Names: found.RepoTags, Kind: img.Labels[labelImage], Recipe: img.Labels[labelRecipe], Agent: img.Labels[labelAgent],
		Protocol: img.Labels[labelProtocol], From: img.Labels[labelFrom], Size: found.Size,
	}
	info.Created, _ = time.Parse(time.RFC3339Nano, found.Created)
	info.Current = info.Kind == imageKernel && info.Recipe == Recipe()
	return info, nil
}

// certificates are what pip is to trust during the build; nil for what Debian brings.
func (o *BuildOptions) certificates() string {
	return cmp.Or(o.CA, os.Getenv("PIP_CERT"), os.Getenv("REQUESTS_CA_BUNDLE"), os.Getenv("SSL_CERT_FILE"))
}

// buildContext is the folder that the image is made from.
func buildContext(agent *agentbinary.Binary, ca string) (io.Reader, error) {
	var certificates []byte
	if ca != "" {
		data, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("certificates: %w", err)
		}
		certificates = data
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range []entry{
		{name: "Dockerfile", mode: 0o644, data: []byte(images.Dockerfile)},
		{name: "requirements.txt", mode: 0o644, data: []byte(images.Requirements)},
		{name: "kernels.txt", mode: 0o644, data: []byte(images.KernelRequirements)},
		{name: "kernels.py", mode: 0o644, data: []byte(images.KernelScript)},
		{name: "ca.pem", mode: 0o644, data: certificates},
		{name: "ds-sandbox-agent", mode: 0o755, data: agent.Data},
	} {
		if err := e.write(w); err != nil {
			return nil, err
		}
	}
	return &buf, w.Close()
}

// maxBuildLine bounds a line of a build's output, bytes.
const maxBuildLine = 1 << 20

// follow reads what a build says until it ends. The error says what the step that failed said last.
func follow(r io.Reader, progress func(string)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxBuildLine)
	var tail []string
	for lines.Scan() {
		var message struct {
			Stream      string `json:"stream"`
			Status      string `json:"status"`
			Error       string `json:"error"`
			ErrorDetail struct {
				Message string `json:"message"`
			} `json:"errorDetail"`
		}
		if err := json.Unmarshal(lines.Bytes(), &message); err != nil {
			return fmt.Errorf("the engine's answer: %w", err)
		}
		if text := cmp.Or(message.ErrorDetail.Message, message.Error); text != "" {
			return buildError(text, tail)
		}
		for line := range strings.Lines(cmp.Or(message.Stream, message.Status)) {
			line = strings.TrimRight(line, "\r\n")
			if line == "" {
				continue
			}
			if tail = append(tail, line); len(tail) > 15 {
				tail = tail[1:]
			}
			if progress != nil {
				progress(line)
			}
		}
	}
	return lines.Err()
}

func buildError(text string, tail []string) error {
	said := strings.Join(tail, "\n")
	switch {
	case strings.Contains(text, "manifest unknown") || strings.Contains(text, "pull access denied") || strings.Contains(text, "registry") ||
		strings.Contains(text, "dial tcp"):
		return fmt.Errorf("%s: the engine can't get the base image; load it there by other means, or name another one with --base", text)
	case strings.Contains(said, "CERTIFICATE_VERIFY_FAILED"):
		return fmt.Errorf("%s: pip does not trust its server: name the certificates of your network with --ca FILE or PIP_CERT\n%s", text, said)
	case strings.Contains(said, "Temporary failure"):
		return fmt.Errorf("%s: no names in the build: set HTTP_PROXY, or APT_MIRROR and PIP_INDEX_URL, or the engine's DNS\n%s", text, said)
	}
	return errors.New(text + "\n" + said)
}
