package envd

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// Bounds of compose.
const (
	maxComposed     = 10_000
	maxComposeNames = 4 << 20 // bytes of its request
)

// compose makes one file of several, one after the other, as parts of a large one are that were uploaded apart.
func (h *Handler) compose(w http.ResponseWriter, r *http.Request, m *fleet.Member) error {
	var asked struct {
		SourcePaths []string `json:"source_paths"`
		Destination string   `json:"destination"`
		Username    string   `json:"username"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxComposeNames)).Decode(&asked); err != nil {
		return refusef(http.StatusBadRequest, "body is not what is expected: %v", err)
	}
	if asked.Destination == "" || len(asked.SourcePaths) == 0 || len(asked.SourcePaths) > maxComposed {
		return refusef(http.StatusBadRequest, "give a destination and 1 to %d source_paths", maxComposed)
	}
	metadata, err := metadataOf(r.Header)
	if err != nil {
		return err
	}
	query := r.URL.Query()
	if asked.Username != "" {
		query.Set("username", asked.Username)
	}
	p, err := placeOf(m, userOf(r.Header, query))
	if err != nil {
		return err
	}
	to, err := p.locate(asked.Destination)
	if err != nil {
		return err
	}
	sources := &sequence{ctx: r.Context(), files: p.files}
	defer sources.close()
	for _, path := range asked.SourcePaths {
		from, err := p.locate(path)
		if err != nil {
			return err
		}
		sources.left = append(sources.left, from)
	}
	if _, err := p.files.WriteFrom(r.Context(), to.name, sources, &sandbox.WriteOptions{Metadata: metadata}); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, newEntity(to.path, metadata))
	return nil
}

// sequence reads files one after the other.
type sequence struct {
	ctx   context.Context
	files *sandbox.Files
	left  []location
	open  io.ReadCloser
}

func (s *sequence) Read(p []byte) (int, error) {
	for {
		if s.open == nil {
			if len(s.left) == 0 {
				return 0, io.EOF
			}
			open, err := s.files.Open(s.ctx, s.left[0].name)
			if err != nil {
				return 0, err
			}
			s.open, s.left = open, s.left[1:]
		}
		n, err := s.open.Read(p)
		if errors.Is(err, io.EOF) {
			s.close()
			err = nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (s *sequence) close() {
	if s.open != nil {
		_ = s.open.Close()
		s.open = nil
	}
}
