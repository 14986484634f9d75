package guard

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/image"
)

const (
	imageName = "ds-sandbox-guard"
	agentPath = "/ds-sandbox-agent"
)

// helperImage is an image with the agent and nothing else, made where it is absent: an engine needs no base image for it, and the images of
// users, whatever is in them, never run with NET_ADMIN.
func (g *Guard) helperImage(ctx context.Context) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.helperImageLocked(ctx)
}

// helperImageLocked is helperImage, with mu held. It looks each time: while no helper runs the image is unused, and what cleans an engine
// up removes it.
func (g *Guard) helperImageLocked(ctx context.Context) (string, error) {
	if len(g.options.Agent) == 0 {
		return "", errors.New("guard: Options.Agent is required")
	}
	if g.image == "" {
		sum := sha256.Sum256(g.options.Agent)
		g.image = fmt.Sprintf("%s:%x", imageName, sum[:8])
	}
	_, err := g.api.ImageInspect(ctx, g.image)
	if errdefs.IsNotFound(err) {
		err = g.importImage(ctx, g.image)
	}
	if err != nil {
		return "", fmt.Errorf("image of network helpers: %w", err)
	}
	return g.image, nil
}

func (g *Guard) importImage(ctx context.Context, ref string) error {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	header := tar.Header{Name: agentPath[1:], Mode: 0o755, Size: int64(len(g.options.Agent)), Typeflag: tar.TypeReg}
	if err := errors.Join(
		w.WriteHeader(&tar.Header{Name: "run/", Mode: 0o755, Typeflag: tar.TypeDir}),
		w.WriteHeader(&header),
	); err != nil {
		return err
	}
	if _, err := w.Write(g.options.Agent); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	progress, err := g.api.ImageImport(ctx, image.ImportSource{Source: &archive, SourceName: "-"}, ref, image.ImportOptions{
		Changes: []string{`ENTRYPOINT ["` + agentPath + `"]`, "LABEL " + LabelHelper + "=image"},
	})
	if err != nil {
		return err
	}
	defer progress.Close() //nolint:errcheck // all was read
	if _, err := io.Copy(io.Discard, progress); err != nil {
		return err
	}
	// What went wrong comes within the progress; whether the image is there tells.
	_, err = g.api.ImageInspect(ctx, ref)
	return err
}
