package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/ds-sandbox/ds-sandbox/backends/docker/agentbinary"
)

// upload is the agent's binary for an image that lacks it; nil data when it has it.
type upload struct{ binary *agentbinary.Binary }

// maxPasswd bounds a file of users, bytes.
const maxPasswd = 1 << 20

// fill stores what the image lacks in a container that was not started yet.
func (b *Backend) fill(ctx context.Context, id string, img *image, agent upload) error {
	if agent.binary == nil && img.Labels[labelImage] != "" {
		return nil
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	entries := []entry{}
	if img.Labels[labelImage] == "" { // not of our making
		users, err := b.users(ctx, id)
		if err != nil {
			return err
		}
		entries = append(entries, users...)
		entries = append(entries, entry{name: "home/", mode: 0o755}, entry{name: "home/user/", mode: 0o755, owner: userID},
			entry{name: "var/lib/ds-sandbox/", mode: 0o755, owner: userID}, entry{name: "run/ds-sandbox/", mode: 0o755, owner: userID})
	}
	if agent.binary != nil {
		for _, dir := range []string{"opt/", "opt/ds-sandbox/", "opt/ds-sandbox/bin/"} {
			entries = append(entries, entry{name: dir, mode: 0o755})
		}
		entries = append(entries, entry{name: strings.TrimPrefix(agentPath, "/"), mode: 0o755, data: agent.binary.Data})
	}
	for _, e := range entries {
		if err := e.write(w); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	err := b.engine.api.CopyToContainer(ctx, id, "/", &buf, container.CopyToContainerOptions{})
	if err != nil {
		return fmt.Errorf("store the agent in the container: %w", err)
	}
	return nil
}

// entry is a file or, with a slash at its end, a folder.
type entry struct {
	name  string
	mode  int64
	owner int
	data  []byte
}

func (e entry) write(w *tar.Writer) error {
	h := &tar.Header{
		Name: e.name, Mode: e.mode, Uid: e.owner, Gid: e.owner, Size: int64(len(e.data)), Typeflag: tar.TypeReg,
		ModTime: time.Unix(1<<30, 0), // always the same, so that builds find their layers again
	}
	if strings.HasSuffix(e.name, "/") {
		h.Typeflag = tar.TypeDir
	}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err := w.Write(e.data)
	return err
}

// users are the files of users and groups with the code's user in them, as far as they change.
func (b *Backend) users(ctx context.Context, id string) ([]entry, error) {
	var out []entry
	for name, line := range map[string]string{
		"/etc/passwd": fmt.Sprintf("user:x:%d:%d::%s:/bin/sh\n", userID, userID, workspaceDir),
		"/etc/group":  fmt.Sprintf("user:x:%d:\n", userID),
	} {
		text, err := b.readFile(ctx, id, name)
		if err != nil && !gone(err) {
			return nil, fmt.Errorf("read %s of the image: %w", name, err)
		}
		if hasUser(text) {
			continue
		}
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		out = append(out, entry{name: strings.TrimPrefix(name, "/"), mode: 0o644, data: []byte(text + line)})
	}
	return out, nil
}

// hasUser reports whether the file knows the code's user by number or name.
func hasUser(text string) bool {
	for line := range strings.Lines(text) {
		fields := strings.Split(line, ":")
		if len(fields) > 2 && (fields[2] == fmt.Sprint(userID) || fields[0] == "user") {
			return true
		}
	}
	return false
}

// readFile reads a small regular file of a container.
func (b *Backend) readFile(ctx context.Context, id, name string) (string, error) {
	r, _, err := b.engine.api.CopyFromContainer(ctx, id, name)
	if err != nil {
		return "", err
	}
	defer func() { _ = r.Close() }()
	t := tar.NewReader(r)
	h, err := t.Next()
	if err != nil {
		return "", err
	}
	if h.Typeflag != tar.TypeReg || h.Size > maxPasswd {
		return "", fmt.Errorf("%s is no plain file", path.Base(name))
	}
	data, err := io.ReadAll(t)
	return string(data), err
}

// agentOf is the agent's binary of an image, taken out of a container that is made for it and never started.
func (e *engine) agentOf(ctx context.Context, img *image) (_ []byte, err error) {
	config := &container.Config{Image: img.ID, Entrypoint: []string{agentPath}}
	created, err := e.api.ContainerCreate(ctx, config, &container.HostConfig{NetworkMode: "none"}, nil, nil, "")
	if err != nil {
		return nil, err
	}
	defer func() {
		removing, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
		defer cancel()
		err = errors.Join(err, e.api.ContainerRemove(removing, created.ID, container.RemoveOptions{Force: true}))
	}()
	r, _, err := e.api.CopyFromContainer(ctx, created.ID, agentPath)
	if err != nil {
		return nil, fmt.Errorf("read the agent of image %s: %w", img.Name, err)
	}
	defer func() { _ = r.Close() }()
	t := tar.NewReader(r)
	if h, err := t.Next(); err != nil || h.Typeflag != tar.TypeReg {
		return nil, errors.Join(err, fmt.Errorf("image %s has no agent", img.Name))
	}
	return io.ReadAll(io.LimitReader(t, maxAgent))
}

// maxAgent bounds an agent's binary, bytes.
const maxAgent = 256 << 20
