package access

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

const (
	adas = "e2b_0123456789abcdef0123456789abcdef01234567"
	bobs = "e2b_ffffffffffffffffffffffffffffffffffffffff"
)

func testKeys(t *testing.T) *Keys {
	keys, err := New(Key{adas, &fleet.Owner{Name: "ada"}}, Key{bobs, &fleet.Owner{Name: "bob"}})
	require.NoError(t, err)
	return keys
}

func TestKeyIsFoundWhereverClientsPutIt(t *testing.T) {
	keys := testKeys(t)
	for name, test := range map[string]struct {
		change func(r *http.Request)
		owner  string
		err    error
	}{
		"E2B's header":      {func(r *http.Request) { r.Header.Set("X-API-KEY", adas) }, "ada", nil},
		"bearer":            {func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+bobs) }, "bob", nil},
		"Jupyter's":         {func(r *http.Request) { r.Header.Set("Authorization", "token "+bobs) }, "bob", nil},
		"query":             {func(r *http.Request) { r.URL.RawQuery = "a=b&token=" + adas }, "ada", nil},
		"cookie":            {func(r *http.Request) { r.AddCookie(&http.Cookie{Name: Cookie, Value: adas}) }, "ada", nil},
		"none":              {func(*http.Request) {}, "", ErrNoKey},
		"basic":             {func(r *http.Request) { r.SetBasicAuth("user", adas) }, "", ErrNoKey},
		"wrong":             {func(r *http.Request) { r.Header.Set("X-API-KEY", adas[:43]+"0") }, "", ErrBadKey},
		"too short":         {func(r *http.Request) { r.Header.Set("X-API-KEY", adas[:43]) }, "", ErrBadKey},
		"too long":          {func(r *http.Request) { r.Header.Set("X-API-KEY", adas+"0") }, "", ErrBadKey},
		"a megabyte":        {func(r *http.Request) { r.Header.Set("X-API-KEY", strings.Repeat("x", 1<<20)) }, "", ErrBadKey},
		"the first decides": {func(r *http.Request) { r.Header.Set("X-API-KEY", "x"); r.URL.RawQuery = "token=" + adas }, "", ErrBadKey},
		"cookie and origin": {func(r *http.Request) {
			r.AddCookie(&http.Cookie{Name: Cookie, Value: adas})
			r.Header.Set("Origin", "http://example.com")
		}, "ada", nil},
		"cookie from abroad": {func(r *http.Request) {
			r.AddCookie(&http.Cookie{Name: Cookie, Value: adas})
			r.Header.Set("Origin", "http://evil.com")
		}, "", ErrForeign},
		"cookie, null": {func(r *http.Request) {
			r.AddCookie(&http.Cookie{Name: Cookie, Value: adas})
			r.Header.Set("Origin", "null")
		}, "", ErrForeign},
		"cookie, cross-site": {func(r *http.Request) {
			r.AddCookie(&http.Cookie{Name: Cookie, Value: adas})
			r.Header.Set("Sec-Fetch-Site", "cross-site")
		}, "", ErrForeign},
		"header from abroad": {func(r *http.Request) { r.Header.Set("X-API-KEY", adas); r.Header.Set("Origin", "http://evil.com") }, "ada", nil},
	} {
		r := httptest.NewRequest(http.MethodGet, "http://example.com/x", nil)
		test.change(r)
		owner, err := keys.Identify(r)
		require.ErrorIs(t, err, test.err, name)
		if test.err == nil {
			require.Equal(t, test.owner, owner.Name, name)
		} else {
			require.NotContains(t, err.Error(), adas[:20])
		}
	}
}

func TestOwnerIsFoundOnce(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	bob := &fleet.Owner{Name: "bob"}
	got, err := testKeys(t).Identify(r.WithContext(With(r.Context(), bob)))
	require.NoError(t, err)
	require.Same(t, bob, got)
}

func TestKeysThatCanNotBeToldApartAreRefused(t *testing.T) {
	ada := &fleet.Owner{Name: "ada"}
	for says, keys := range map[string][]Key{
		"there is no key":           nil,
		"a name has lower-case":     {{adas, &fleet.Owner{Name: "Ada/x"}}},
		"it has 5 characters":       {{"short", ada}},
		"it has blanks around it":   {{" " + adas, ada}},
		"they have different limit": {{adas, ada}, {bobs, &fleet.Owner{Name: "ada", Limits: fleet.Limits{Sandboxes: 1}}}},
		"are the same":              {{adas, ada}, {adas, &fleet.Owner{Name: "bob"}}},
	} {
		_, err := New(keys...)
		require.ErrorContains(t, err, says)
		require.NotContains(t, err.Error(), adas)
	}
	keys, err := New(Key{adas, ada}, Key{bobs, &fleet.Owner{Name: "ada"}})
	require.NoError(t, err)
	require.Same(t, keys.Owner(adas), keys.Owner(bobs), "one owner with two keys")
}

func TestKeyFileIsMadeOnceAndForItsUserAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "key")
	_, _, err := File(path, false)
	require.ErrorIs(t, err, os.ErrNotExist)
	secrets, made := make([]string, 8), make([]bool, 8)
	var wg sync.WaitGroup
	for i := range secrets {
		wg.Go(func() {
			var err error
			secrets[i], made[i], err = File(path, true)
			require.NoError(t, err)
		})
	}
	wg.Wait()
	makers := 0
	for i := range secrets {
		require.Equal(t, secrets[0], secrets[i])
		if made[i] {
			makers++
		}
	}
	require.Equal(t, 1, makers)
	require.Regexp(t, `^e2b_[0-9a-f]{40}$`, secrets[0])
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode().Perm())
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, left, 1)

	require.NoError(t, os.Chmod(path, 0o640))
	_, _, err = File(path, true)
	require.ErrorContains(t, err, "chmod 600")
	require.NoError(t, os.Chmod(path, 0o600))
	require.NoError(t, os.WriteFile(path, []byte("\n"), 0o600))
	_, _, err = File(path, true)
	require.ErrorContains(t, err, "holds no key")
	_, _, err = File(filepath.Dir(path), false)
	require.ErrorContains(t, err, "is no file")
}
