package docker

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/google/uuid"
)

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
