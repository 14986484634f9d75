package docker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/filters"
	api "github.com/docker/docker/api/types/image"

	"github.com/ds-sandbox/ds-sandbox/backends/docker/agentbinary"
	"github.com/ds-sandbox/ds-sandbox/images"
)

// ImageName is the image of ours, without a tag. `ds-sandbox image build` makes it.
const ImageName = "ds-sandbox-kernel"

// snapshotName is what snapshots are tagged with, so that `docker image prune` leaves them.
const snapshotName = "ds-sandbox-snapshot"

// Recipe tells what our image is made from, but for the agent: a short hash, and the image's tag.
func Recipe() string {
	sum := sha256.Sum256([]byte(strings.Join([]string{
		images.Dockerfile, images.Requirements, images.KernelRequirements, images.KernelScript,
	}, "\x00")))
	return hex.EncodeToString(sum[:6])
}

// image is one that the engine has.
type image struct {
	ID     string
	Name   string // as it was asked for
	Labels map[string]string
}

// ImageMissingError says that the engine lacks an image.
type ImageMissingError struct {
	Name   string
	Remedy string
}

func (e *ImageMissingError) Error() string {
	return fmt.Sprintf("docker: the engine has no image %s; %s", e.Name, e.Remedy)
}

// findImage is the image by that name, or ours when it is "": of this program's recipe or, failing that, the latest.
func (e *engine) findImage(ctx context.Context, name string) (*image, error) {
	names := []string{name}
	remedy := fmt.Sprintf("`docker pull %s`, or name one that `docker images` lists", name)
	if name == "" || name == ImageName {
		names = []string{ImageName + ":" + Recipe(), ImageName + ":latest"}
		name, remedy = ImageName, "make it: `ds-sandbox image build`"
	}
	for _, n := range names {
		found, err := e.api.ImageInspect(ctx, n)
		if gone(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("docker: image %s: %w", n, err)
		}
		if found.Os != "" && found.Os != "linux" {
			return nil, fmt.Errorf("docker: image %s is for %s: use one for Linux", n, found.Os)
		}
		img := &image{ID: found.ID, Name: n}
		if found.Config != nil {
			img.Labels = found.Config.Labels
		}
		return img, nil
	}
	return nil, &ImageMissingError{Name: name, Remedy: remedy}
}

// agentFor is what must be stored in containers of an image: nothing if it has the agent that we would bring, or one that speaks
// our protocol when we have none to bring.
func (e *engine) agentFor(img *image, path string) (upload, error) {
	binary, err := agentbinary.Find(e.architecture(), path)
	if err == nil {
		if binary.Hash == img.Labels[labelAgent] {
			return upload{}, nil
		}
		return upload{binary}, nil
	}
	if img.Labels[labelProtocol] == protocol {
		return upload{}, nil
	}
	if img.Labels[labelImage] != "" {
		return upload{}, fmt.Errorf("docker: image %s has an agent of another version (protocol %s, this program speaks %s) and %w; or make "+
			"the image anew: `ds-sandbox image build`", img.Name, img.Labels[labelProtocol], protocol, err)
	}
	return upload{}, fmt.Errorf("docker: image %s has no agent and %w", img.Name, err)
}

// ImageInfo describes an image that sandboxes can be made from.
type ImageInfo struct {
	ID       string    `json:"id"`
	Names    []string  `json:"names"`
	Kind     string    `json:"kind"` // "kernel" or "snapshot"
	Recipe   string    `json:"recipe,omitempty"`
	Current  bool      `json:"current"` // of this program's recipe
	Agent    string    `json:"agent,omitempty"`
	Protocol string    `json:"protocol,omitempty"`
	From     string    `json:"from,omitempty"` // image of a snapshot's sandbox
	Size     int64     `json:"size"`           // bytes, shared layers included
	Created  time.Time `json:"created"`
}

// Images lists our images and the snapshots, newest first.
func Images(ctx context.Context, config Config) ([]ImageInfo, error) {
	e, err := connect(ctx, config.Host)
	if err != nil {
		return nil, err
	}
	defer func() { _ = e.close() }()
	list, err := e.api.ImageList(ctx, api.ListOptions{Filters: filters.NewArgs(filters.Arg("label", labelImage))})
	if err != nil {
		return nil, fmt.Errorf("docker: list images: %w", err)
	}
	infos := []ImageInfo{}
	for _, found := range list {
		info := ImageInfo{
			ID: found.ID, Names: found.RepoTags, Kind: found.Labels[labelImage], Recipe: found.Labels[labelRecipe], Agent: found.Labels[labelAgent],
			Protocol: found.Labels[labelProtocol], From: found.Labels[labelFrom], Size: found.Size, Created: time.Unix(found.Created, 0),
		}
		info.Current = info.Kind == imageKernel && info.Recipe == Recipe()
		if info.Kind == imageKernel && len(info.Names) == 0 {
			continue // replaced by a newer build
		}
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b ImageInfo) int { return b.Created.Compare(a.Created) })
	return infos, nil
}

// RemoveImage removes a snapshot or an image of ours, by name or id. Others are refused.
func RemoveImage(ctx context.Context, config Config, name string) error {
	e, err := connect(ctx, config.Host)
	if err != nil {
		return err
	}
	defer func() { _ = e.close() }()
	img, err := e.findImage(ctx, name)
	if err != nil {
		return err
	}
	if img.Labels[labelImage] == "" {
		return fmt.Errorf("docker: image %s is none of ours: `docker image rm %s` removes it", name, name)
	}
	_, err = e.api.ImageRemove(ctx, img.Name, api.RemoveOptions{PruneChildren: true})
	if err != nil {
		return fmt.Errorf("docker: remove image %s: %s", name, bare(err))
	}
	return nil
}

func shortID(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(12, len(id))]
}
