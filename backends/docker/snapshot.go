package docker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	api "github.com/docker/docker/api/types/image"
	"github.com/google/uuid"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

var _ backends.SnapshotRemover = (*Backend)(nil)

// snapshotTime bounds a commit: it copies what was written.
const snapshotTime = 10 * time.Minute

// snapshot keeps a container's files as an image, and returns its name.
func (b *Backend) snapshot(ctx context.Context, in *instance) (string, error) {
	name := snapshotName + ":" + strings.ReplaceAll(uuid.NewString(), "-", "")[:16]
	ctx, cancel := context.WithTimeoutCause(ctx, snapshotTime, fmt.Errorf("the engine made no image within %v", snapshotTime))
	defer cancel()
	labels := map[string]string{labelImage: imageSnapshot, labelFrom: in.image.Name, labelID: in.id, labelOwner: "", labelLock: ""}
	for _, kept := range []string{labelAgent, labelProtocol, labelRecipe} {
		labels[kept] = in.image.Labels[kept]
	}
	if binary := in.agent.binary; binary != nil { // it was stored, and is in the files
		labels[labelAgent], labels[labelProtocol] = binary.Hash, protocol
	}
	var changes []string
	for label, value := range labels {
		changes = append(changes, fmt.Sprintf("LABEL %s=%q", label, value))
	}
	changes = append(changes, "USER 0:0", `ENTRYPOINT []`, `CMD ["/bin/sh"]`)
	_, err := b.engine.api.ContainerCommit(ctx, in.containerID(), container.CommitOptions{
		Reference: name, Comment: "snapshot of sandbox " + in.id, Changes: changes, Pause: true,
	})
	if err != nil {
		return "", orCause(ctx, err)
	}
	return name, nil
}

// RemoveSnapshot removes the image that a snapshot is, and no other one.
func (b *Backend) RemoveSnapshot(ctx context.Context, id string) error {
	img, err := b.engine.findImage(ctx, id)
	var missing *ImageMissingError
	switch {
	case errors.As(err, &missing) || err == nil && img.Labels[labelImage] != imageSnapshot:
		return fmt.Errorf("docker: snapshot %s: %w", id, backends.ErrNotFound)
	case err != nil:
		return err
	}
	if _, err := b.engine.api.ImageRemove(ctx, img.Name, api.RemoveOptions{PruneChildren: true}); err != nil {
		return fmt.Errorf("docker: remove snapshot %s: %s", id, bare(err))
	}
	return nil
}
