package envd

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// maxParts bounds one request, all parts counted: each file is a few calls to the sandbox.
const maxParts = 10_000

// upload stores files (section 3.3.2).
func (h *Handler) upload(w http.ResponseWriter, r *http.Request, m *fleet.Member) error {
	query := r.URL.Query()
	metadata, err := metadataOf(r.Header)
	if err != nil {
		return err
	}
	u := &uploader{ctx: r.Context(), query: query, metadata: metadata, stored: []entity{}}
	if u.place, err = placeOf(m, userOf(r.Header, query)); err != nil {
		return err
	}
	body, err := decode(r)
	if err != nil {
		return err
	}
	kind, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case err == nil && kind == "multipart/form-data":
		err = u.parts(body, parameters["boundary"])
	case err == nil && kind == "application/octet-stream":
		err = u.stream(body)
	default:
		return refusef(http.StatusBadRequest, "content type %.100q: use multipart/form-data or application/octet-stream",
			r.Header.Get("Content-Type"))
	}
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, u.stored)
	return nil
}

// uploader is an upload under way.
type uploader struct {
	ctx      context.Context
	place    *place
	query    url.Values
	metadata map[string]string
	stored   []entity
	seen     map[string]bool // paths that were stored
}

func (u *uploader) stream(body io.Reader) error {
	if u.query.Get("path") == "" {
		return refusef(http.StatusBadRequest, "the query has no path, which says where the body is to be stored")
	}
	return u.store(u.query.Get("path"), body)
}

func (u *uploader) parts(body io.Reader, boundary string) error {
	if boundary == "" {
		return refusef(http.StatusBadRequest, "the content type has no boundary")
	}
	parts := multipart.NewReader(body, boundary)
	for range maxParts {
		part, err := parts.NextRawPart()
		if err == io.EOF { //nolint:errorlint // that of a form that ends early is wrapped
			return nil
		}
		if err != nil {
			return malformed(err)
		}
		field, destination := destinationOf(part.Header.Get("Content-Disposition"))
		if field != "file" {
			continue
		}
		if to := u.query.Get("path"); to != "" {
			if len(u.stored) > 0 {
				return refusef(http.StatusBadRequest, "several files for the path '%s': leave the path out, and give each its own file name", to)
			}
			destination = to
		}
		if destination == "" {
			return refusef(http.StatusBadRequest, "a file without a name: give the part a file name, or the query a path")
		}
		if err := u.store(destination, &partReader{part}); err != nil {
			return err
		}
	}
	return refusef(http.StatusBadRequest, "more than %d parts in one request", maxParts)
}

// destinationOf reads from a part's Content-Disposition its field and where it is to be stored, which may be a whole path: what
// mime/multipart calls a file name is the last element of that.
func destinationOf(disposition string) (field, destination string) {
	kind, parameters, err := mime.ParseMediaType(disposition)
	if err != nil || kind != "form-data" {
		return "", ""
	}
	return parameters["name"], parameters["filename"]
}

// malformed is what is wrong with a body, unless it is the refusal of what decodes it.
func malformed(err error) error {
	if refused := new(refusal); errors.As(err, &refused) {
		return refused
	}
	return refusef(http.StatusBadRequest, "body is no form: %v", err)
}

// partReader reads a part, and says whose mistake it is when that ends early.
type partReader struct{ *multipart.Part }

func (r *partReader) Read(p []byte) (int, error) {
	n, err := r.Part.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = malformed(err)
	}
	return n, err
}

// store stores one file.
func (u *uploader) store(destination string, contents io.Reader) error {
	at, err := u.place.locate(destination)
	if err != nil {
		return err
	}
	if u.seen[at.path] {
		return refusef(http.StatusBadRequest, "path '%s' is given twice", at.path)
	}
	opts := &sandbox.WriteOptions{Metadata: u.metadata}
	if _, err := u.place.files.WriteFrom(u.ctx, at.name, contents, opts); err != nil {
		return err
	}
	if u.seen == nil {
		u.seen = make(map[string]bool)
	}
	u.seen[at.path] = true
	u.stored = append(u.stored, newEntity(at.path, u.metadata))
	return nil
}

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

// metadataPrefix begins the names of headers with metadata of uploaded files.
const metadataPrefix = "X-Metadata-"

// Bounds of metadata, bytes.
const (
	maxMetadataKey = 200
	maxMetadata    = 4096
)

// metadataOf reads what a request says of its files (section 3.3.3); nil when that is nothing.
func metadataOf(header http.Header) (map[string]string, error) {
	var metadata map[string]string
	size := 0
	for name, values := range header {
		key, ok := strings.CutPrefix(name, metadataPrefix)
		if !ok {
			continue
		}
		if key = strings.ToLower(key); !isKey(key) {
			return nil, refusef(http.StatusBadRequest, "metadata key %.40q: use 1 to %d letters, digits, dots, dashes and underscores", key,
				maxMetadataKey)
		}
		value := values[len(values)-1]
		for _, c := range []byte(value) {
			if c < ' ' || c > '~' {
				return nil, refusef(http.StatusBadRequest, "metadata value of %s: use printable ASCII", key)
			}
		}
		if size += len(key) + len(value); size > maxMetadata {
			return nil, refusef(http.StatusBadRequest, "metadata of more than %d bytes", maxMetadata)
		}
		if metadata == nil {
			metadata = make(map[string]string)
		}
		metadata[key] = value
	}
	return metadata, nil
}

func isKey(key string) bool {
	for _, c := range []byte(key) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_') {
			return false
		}
	}
	return key != "" && len(key) <= maxMetadataKey
}
