package guard

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	"github.com/stretchr/testify/require"
)

// shelf is an engine that has images and nothing else.
type shelf struct {
	client.APIClient
	images map[string]bool
}

func (s *shelf) ImageInspect(_ context.Context, ref string, _ ...client.ImageInspectOption) (image.InspectResponse, error) {
	if !s.images[ref] {
		return image.InspectResponse{}, errdefs.ErrNotFound
	}
	return image.InspectResponse{}, nil
}

func (s *shelf) ImageImport(_ context.Context, from image.ImportSource, ref string, _ image.ImportOptions) (io.ReadCloser, error) {
	if _, err := io.Copy(io.Discard, from.Source); err != nil {
		return nil, err
	}
	s.images[ref] = true
	return io.NopCloser(strings.NewReader("{}")), nil
}

func TestImageOfHelpersThatWasRemovedIsMadeAgain(t *testing.T) {
	api := &shelf{images: make(map[string]bool)}
	g := New(api, Options{Agent: []byte("agent")})
	for range 2 {
		ref, err := g.helperImage(t.Context())
		require.NoError(t, err)
		require.True(t, api.images[ref])
		delete(api.images, ref) // as `docker image prune --all` does
	}
}
