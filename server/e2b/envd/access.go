package envd

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// tokenHeader carries the sandbox's own token.
const tokenHeader = "X-Access-Token"

// The words of refusals, some of which clients look for.
const (
	badToken         = "unauthorized access, please provide a valid access token or method signing if supported"
	missingSignature = "missing signature query parameter"
	badSignature     = "invalid signature"
	expiredSignature = "signature is already expired"
)

func unauthorized(message string) error { return &refusal{http.StatusUnauthorized, message} }

// admit says whether a request may be served (sections 3.1, 3.3.4).
func (h *Handler) admit(m *fleet.Member, r *http.Request) error {
	token := r.Header.Get(tokenHeader)
	switch {
	case r.URL.Path == "/health":
		return nil
	case r.URL.Path != "/files" || token != "":
		if !fleet.SameSecret(token, m.AccessToken()) {
			return unauthorized(badToken)
		}
		return nil
	}
	s, err := parseSignature(r)
	if err != nil {
		return err
	}
	if !s.by(m) {
		return unauthorized(badSignature)
	}
	return s.checkTime(time.Now())
}

// Signed finds the sandbox whose token has signed a request for a file. Such an address names no sandbox (section 3.3.4). The errors are
// those that the client is to be told: access.ErrBadKey by errors.Is.
func (h *Handler) Signed(r *http.Request) (*fleet.Member, error) {
	s, err := parseSignature(r)
	if err != nil {
		return nil, err
	}
	for _, m := range h.fleet.Members(nil) {
		if s.by(m) {
			return m, s.checkTime(time.Now())
		}
	}
	return nil, unauthorized(badSignature)
}

// signature is what an address was signed with, and what for.
type signature struct {
	given                    string
	path, operation, user    string
	expires                  string // Unix, seconds; as it was given
	expiresAt                time.Time
	operationKnown, expiring bool
}

// maxSignature bounds what is looked at, bytes; ours have 46.
const maxSignature = 128

func parseSignature(r *http.Request) (*signature, error) {
	query := r.URL.Query()
	s := &signature{
		// A plus sign that was not escaped arrives as a space.
		given: strings.ReplaceAll(query.Get("signature"), " ", "+"),
		path:  query.Get("path"), user: query.Get("username"), expires: query.Get("signature_expiration"),
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		s.operation, s.operationKnown = "read", true
	case http.MethodPost:
		s.operation, s.operationKnown = "write", true
	}
	if s.given == "" {
		return nil, unauthorized(missingSignature)
	}
	if !s.operationKnown || len(s.given) > maxSignature {
		return nil, unauthorized(badSignature)
	}
	if s.expiring = query.Has("signature_expiration"); s.expiring {
		seconds, err := strconv.ParseInt(s.expires, 10, 64)
		if err != nil || strconv.FormatInt(seconds, 10) != s.expires {
			return nil, unauthorized(badSignature)
		}
		s.expiresAt = time.Unix(seconds, 0)
	}
	return s, nil
}

// sign is what the bearer of a token signs with.
func (s *signature) sign(token string) string {
	text := s.path + ":" + s.operation + ":" + s.user + ":" + token
	if s.expiring {
		text += ":" + s.expires
	}
	sum := sha256.Sum256([]byte(text))
	return "v1_" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// by reports whether it is of the token of a sandbox.
func (s *signature) by(m *fleet.Member) bool {
	return fleet.SameSecret(s.given, s.sign(m.AccessToken()))
}

func (s *signature) checkTime(now time.Time) error {
	if s.expiring && s.expiresAt.Before(now) {
		return unauthorized(expiredSignature)
	}
	return nil
}

// userOf is who a request is to be done by: the query's, for plain requests, else that of basic authentication, else the ordinary one.
func userOf(header http.Header, query url.Values) string {
	if name := query.Get("username"); name != "" {
		return name
	}
	r := http.Request{Header: header}
	if name, _, ok := r.BasicAuth(); ok && name != "" {
		return name
	}
	return backends.OrdinaryUser
}
