package access

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// Why a request has no owner.
var (
	ErrNoKey  = errors.New("no API key: send it as X-API-KEY, or as Authorization: Bearer")
	ErrBadKey = errors.New("API key is not known to this daemon")
	// ErrForeign is for a cookie that came along with a request which another site had the browser make.
	ErrForeign = errors.New("request comes from another site's page: its cookie counts for nothing")
)

// Cookie is the name of the cookie that holds a key, for the page.
const Cookie = "ds_sandbox_key"

// Key is a secret and whom it stands for.
type Key struct {
	Secret string
	Owner  *fleet.Owner
}

// Keys are those that a daemon knows.
type Keys struct {
	hashes []([sha256.Size]byte)
	owners []*fleet.Owner
}

// MinSecret is the shortest secret that is taken for a key, bytes.
const MinSecret = 16

var ownerName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// New makes the keys of a daemon. Several keys may have one owner's name; their limits must be the same then. Errors name what is wrong
// with a key by its owner, never by its secret.
func New(keys ...Key) (*Keys, error) {
	k := new(Keys)
	byName := make(map[string]*fleet.Owner)
	for _, key := range keys {
		name := key.Owner.Name
		switch known := byName[name]; {
		case !ownerName.MatchString(name):
			return nil, fmt.Errorf("key of %.80q: a name has lower-case letters, digits, dashes and underscores", name)
		case len(key.Secret) < MinSecret:
			return nil, fmt.Errorf("key of %s: it has %d characters, fewer than %d: use one that can't be guessed", name, len(key.Secret), MinSecret)
		case strings.TrimSpace(key.Secret) != key.Secret || strings.ContainsAny(key.Secret, "\r\n\x00"):
			return nil, fmt.Errorf("key of %s: it has blanks around it or a line break in it", name)
		case known != nil && known.Limits != key.Owner.Limits:
			return nil, fmt.Errorf("keys of %s: they have different limits", name)
		case known == nil:
			byName[name] = key.Owner
		}
		hash := sha256.Sum256([]byte(key.Secret))
		for i := range k.hashes {
			if k.hashes[i] == hash {
				return nil, fmt.Errorf("keys of %s and %s are the same", k.owners[i].Name, name)
			}
		}
		k.hashes, k.owners = append(k.hashes, hash), append(k.owners, byName[name])
	}
	if len(k.hashes) == 0 {
		return nil, errors.New("there is no key")
	}
	return k, nil
}

// Owner is whom a secret stands for; nil when it is no key. Every key is compared, however early one fits.
func (k *Keys) Owner(secret string) *fleet.Owner {
	hash := sha256.Sum256([]byte(secret))
	found := -1
	for i := range k.hashes {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(hash[:], k.hashes[i][:]), i, found)
	}
	if found < 0 {
		return nil
	}
	return k.owners[found]
}

type ownerKey struct{}

// With is ctx with the owner that a request was found to have, so that it is found once.
func With(ctx context.Context, o *fleet.Owner) context.Context {
	return context.WithValue(ctx, ownerKey{}, o)
}

// Identify finds the owner of the key that a request carries, in this order: X-API-KEY, Authorization (Bearer, or Jupyter's token),
// ?token=, a subprotocol of a websocket (TokenProtocol), the path (KeyPath), the page's Cookie. The first that is there decides.
// Errors: ErrNoKey, ErrBadKey, ErrForeign.
func (k *Keys) Identify(r *http.Request) (*fleet.Owner, error) {
	if o, ok := r.Context().Value(ownerKey{}).(*fleet.Owner); ok {
		return o, nil
	}
	secret, fromCookie := secretOf(r)
	if secret == "" {
		return nil, ErrNoKey
	}
	owner := k.Owner(secret)
	switch {
	case owner == nil:
		return nil, ErrBadKey
	case fromCookie && foreign(r):
		return nil, ErrForeign
	}
	return owner, nil
}

// secretOf is what a request carries as its key.
func secretOf(r *http.Request) (secret string, fromCookie bool) {
	if key := r.Header.Get("X-API-KEY"); key != "" {
		return key, false
	}
	if scheme, value, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok {
		if strings.EqualFold(scheme, "Bearer") || strings.EqualFold(scheme, "token") {
			return strings.TrimSpace(value), false
		}
	}
	if r.URL.RawQuery != "" {
		if token := r.URL.Query().Get("token"); token != "" {
			return token, false
		}
	}
	if token := tokenProtocol(r); token != "" {
		return token, false
	}
	if rest, ok := strings.CutPrefix(r.URL.Path, KeyPath); ok {
		key, _, _ := strings.Cut(rest, "/")
		return key, false
	}
	if cookie, err := r.Cookie(Cookie); err == nil {
		return cookie.Value, true
	}
	return "", false
}

// TokenProtocol is the beginning of the subprotocol by which a page that can set no header names its key: a dot and the key, escaped as in
// a URL, follow (Jupyter's JEP 121).
const TokenProtocol = "v1.token.websocket.jupyter.org"

func tokenProtocol(r *http.Request) string {
	for _, line := range r.Header.Values("Sec-WebSocket-Protocol") {
		for offered := range strings.SplitSeq(line, ",") {
			if escaped, ok := strings.CutPrefix(strings.TrimSpace(offered), TokenProtocol+"."); ok {
				token, _ := url.PathUnescape(escaped)
				return token
			}
		}
	}
	return ""
}

// KeyPath is the beginning of a path whose next element is a key, for clients that have no other place for it. WithoutKey is for logs.
const KeyPath = "/t/"

// WithoutKey is a path as it may be shown.
func WithoutKey(path string) string {
	rest, ok := strings.CutPrefix(path, KeyPath)
	if !ok {
		return path
	}
	_, rest, _ = strings.Cut(rest, "/")
	return KeyPath + ".../" + rest
}

// foreign reports whether a browser says that a page of another origin is behind a request.
func foreign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
	default:
		return true
	}
	return !SameOrigin(r)
}

// SameOrigin reports whether a request comes from a page of this daemon, or from no page at all.
func SameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}
