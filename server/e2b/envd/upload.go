package envd

import (
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"

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
		if err == io.EOF { // of a form that ends early it is wrapped
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

// malformed is what is wrong with a body, unless that is known already.
func malformed(err error) error {
	if errors.As(err, new(*refusal)) || errors.As(err, new(*http.MaxBytesError)) {
		return err
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
