package docker

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// KernelSpecs lists the kernels of the default image. The first time it asks an agent: that of an instance that lives, or of one made
// for it.
func (b *Backend) KernelSpecs(ctx context.Context) ([]messaging.KernelSpec, error) {
	img, err := b.engine.findImage(ctx, b.config.Defaults.Image)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	specs, known := b.specs[img.ID]
	b.mu.Unlock()
	if known {
		return specs, nil
	}
	for _, in := range b.live() {
		if specs, err := in.kernelSpecs(ctx, img.ID); err == nil {
			return specs, nil
		}
	}
	id := strings.ReplaceAll(uuid.NewString(), "-", "")[:20]
	made, err := b.Create(ctx, backends.Spec{ID: id})
	if err != nil {
		return nil, fmt.Errorf("docker: list kernels of %s: %w", img.Name, err)
	}
	defer func() { _ = made.Destroy(context.WithoutCancel(ctx)) }()
	return made.(*instance).kernelSpecs(ctx, img.ID)
}

// kernelSpecs are those of the instance, if it is made from that image.
func (in *instance) kernelSpecs(ctx context.Context, imageID string) ([]messaging.KernelSpec, error) {
	if !in.changing.TryLock() { // it is just being made
		return nil, backends.ErrNotFound
	}
	defer in.changing.Unlock()
	if in.destroyed || in.image.ID != imageID {
		return nil, backends.ErrNotFound
	}
	specs, err := in.client.KernelSpecs(ctx)
	if err != nil {
		return nil, in.explain(ctx, err)
	}
	in.backend.mu.Lock()
	defer in.backend.mu.Unlock()
	in.backend.specs[imageID] = specs
	return specs, nil
}
