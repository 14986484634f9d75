package envd_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/server/access"
)

// part is one of a form.
type part struct{ disposition, text string }

// form is a body of parts, and its content type.
func form(t *testing.T, parts ...part) (io.Reader, string) {
	t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for _, p := range parts {
		field, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {p.disposition}})
		require.NoError(t, err)
		_, err = io.WriteString(field, p.text)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return &body, w.FormDataContentType()
}

func zipped(t *testing.T, text string) io.Reader {
	t.Helper()
	var body bytes.Buffer
	z := gzip.NewWriter(&body)
	_, err := io.WriteString(z, text)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return &body
}

func TestPlainFiles(t *testing.T) {
	onBoth(t, func(w *world) {
		octets := []string{"Content-Type", "application/octet-stream"}
		w.t.Run("upload and download", func(t *testing.T) {
			w := *w
			w.t = t
			got := w.do("POST", "/files?path=deep/er/a.txt", strings.NewReader("one"), octets...)
			require.Equal(t, 200, got.StatusCode, got.body)
			require.JSONEq(t, fmt.Sprintf(`[{"path":"%s/deep/er/a.txt","name":"a.txt","type":"file"}]`, w.home), got.body)
			got = w.get("/files?path=deep/er/a.txt")
			require.Equal(t, "one", got.body)
			require.Equal(t, "3", got.Header.Get("Content-Length"))
			require.Equal(t, "text/plain; charset=utf-8", got.Header.Get("Content-Type"))
			require.Equal(t, `inline; filename=a.txt`, got.Header.Get("Content-Disposition"))
			require.NotEmpty(t, got.Header.Get("Last-Modified"))
			require.Contains(t, got.Header.Get("Content-Security-Policy"), "sandbox")
			require.Equal(t, "644\n755\n", w.run("stat -c %a deep/er/a.txt deep/er").stdout)
			w.run("chmod 750 deep/er/a.txt")
			w.put("deep/er/a.txt", "two!")
			require.Equal(t, "two!", w.get("/files?path="+w.home+"/deep/er/a.txt").body)
			require.Equal(t, "750\n", w.run("stat -c %a deep/er/a.txt").stdout, "it keeps its mode")
			w.put("empty", "")
			got = w.get("/files?path=empty", "Accept-Encoding", "gzip, deflate")
			require.Equal(t, "0", got.Header.Get("Content-Length"))
			require.Empty(t, got.Header.Get("Content-Encoding"))
			w.put(url.QueryEscape("ünï \"x\""), "u")
			require.Equal(t, "u", w.get("/files?path="+url.QueryEscape("ünï \"x\"")).body)
			big := strings.Repeat("0123456789abcdef", 1<<16)
			w.put("big", big)
			require.Equal(t, big, w.get("/files?path=big").body)
		})
		w.t.Run("refusals", func(t *testing.T) {
			w := *w
			w.t = t
			w.put("plain", "x")
			for _, c := range []struct {
				method, path, body, kind, coding string
				status                           int
			}{
				{"GET", "/files?path=missing", "", "", "", 404},
				{"GET", "/files?path=.", "", "", "", 400},
				{"GET", "/files?path=plain/below", "", "", "", 400},
				{"GET", "/files?path=a%00b", "", "", "", 400},
				{"GET", "/files?path=" + strings.Repeat("n", 10_000), "", "", "", 400},
				{"POST", "/files", "x", "application/octet-stream", "", 400},
				{"POST", "/files?path=x", "x", "text/plain", "", 400},
				{"POST", "/files?path=x", "x", "", "", 400},
				{"POST", "/files?path=x", "x", "multipart/form-data", "", 400},
				{"POST", "/files?path=x", "no form", "multipart/form-data; boundary=b", "", 400},
				{"POST", "/files?path=.", "x", "application/octet-stream", "", 400},
				{"POST", "/files?path=x", "x", "application/octet-stream", "deflate", 400},
				{"POST", "/files?path=x", "no gzip", "application/octet-stream", "gzip", 400},
				{"POST", "/files?path=a%00b", "x", "application/octet-stream", "", 400},
				{"POST", "/init", "{}", "application/json", "", 404},
				{"PUT", "/files?path=x", "x", "application/octet-stream", "", 405},
			} {
				got := w.do(c.method, c.path, strings.NewReader(c.body), "Content-Type", c.kind, "Content-Encoding", c.coding)
				require.Equal(t, c.status, got.StatusCode, "%+v %s", c, got.body)
				var told struct {
					Code    int
					Message string
				}
				require.NoError(t, json.Unmarshal([]byte(got.body), &told), got.body)
				require.Equal(t, c.status, told.Code)
				require.NotEmpty(t, told.Message)
			}
			require.Equal(t, 404, w.get("/files?path=x").StatusCode, "nothing was left of what failed")
			for encodings, status := range map[string]int{"identity;q=0": 406, "*;q=0": 406, "br": 200, "deflate, identity;q=0": 406} {
				require.Equal(t, status, w.get("/files?path=plain", "Accept-Encoding", encodings).StatusCode, encodings)
			}
		})
		w.t.Run("forms", func(t *testing.T) {
			w := *w
			w.t = t
			send := func(path string, parts ...part) answer {
				body, kind := form(t, parts...)
				return w.do("POST", path, body, "Content-Type", kind)
			}
			got := send("/files?path=f/one", part{`form-data; name="other"`, "ignored"}, part{`form-data; name="file"`, "plain field"})
			require.Equal(t, 200, got.StatusCode, got.body)
			require.Equal(t, "plain field", w.get("/files?path=f/one").body)
			got = send("/files",
				part{`form-data; name="file"; filename="` + w.home + `/f/two"`, "2"}, part{`form-data; name="file"; filename="f/three"`, "3"},
				part{`form-data; name="file"; filename="f/empty"`, ""})
			require.Equal(t, 200, got.StatusCode, got.body)
			require.JSONEq(t, strings.ReplaceAll(`[{"path":"H/f/two","name":"two","type":"file"},{"path":"H/f/three","name":"three","type":"file"},
				{"path":"H/f/empty","name":"empty","type":"file"}]`, "H", w.home), got.body)
			require.Equal(t, "23", w.get("/files?path=f/two").body+w.get("/files?path=f/three").body)
			twice := part{`form-data; name="file"; filename="f/twice"`, "x"}
			require.Equal(t, 400, send("/files", twice, twice).StatusCode)
			require.Equal(t, 400, send("/files?path=f/x", twice, twice).StatusCode)
			require.Equal(t, 400, send("/files", part{`form-data; name="file"`, "x"}).StatusCode)
			require.Equal(t, 400, send("/files", part{`form-data; name="file"; filename="f"`, "a folder"}).StatusCode)
			require.Equal(t, "[]", send("/files", part{`form-data; name="other"`, "x"}).body)
			cut, kind := form(t, part{`form-data; name="file"; filename="f/cut"`, strings.Repeat("x", 1000)})
			got = w.do("POST", "/files", io.LimitReader(cut, 600), "Content-Type", kind)
			require.Equal(t, 400, got.StatusCode, got.body)
			require.Equal(t, 404, w.get("/files?path=f/cut").StatusCode)
		})
		w.t.Run("compressed", func(t *testing.T) {
			w := *w
			w.t = t
			text := strings.Repeat("many times ", 10_000)
			got := w.do("POST", "/files?path=z", zipped(t, text), append(octets, "Content-Encoding", "gzip")...)
			require.Equal(t, 200, got.StatusCode, got.body)
			require.Equal(t, text, w.get("/files?path=z").body)
			got = w.get("/files?path=z", "Accept-Encoding", "gzip, deflate")
			require.Equal(t, "gzip", got.Header.Get("Content-Encoding"))
			require.Equal(t, "Accept-Encoding", got.Header.Get("Vary"))
			require.Less(t, len(got.body), 10_000)
			z, err := gzip.NewReader(strings.NewReader(got.body))
			require.NoError(t, err)
			data, err := io.ReadAll(z)
			require.NoError(t, err)
			require.Equal(t, text, string(data))
		})
		w.t.Run("ranges and conditions", func(t *testing.T) {
			w := *w
			w.t = t
			text := strings.Repeat("abcdefghij", 1000)
			w.put("r", text)
			for given, want := range map[string]string{
				"bytes=0-9": text[:10], "bytes=505-1504": text[505:1505], "bytes=-7": text[len(text)-7:], "bytes=9990-": text[9990:],
			} {
				got := w.get("/files?path=r", "Range", given, "Accept-Encoding", "gzip")
				require.Equal(t, 206, got.StatusCode, given)
				require.Equal(t, want, got.body, given)
				require.Empty(t, got.Header.Get("Content-Encoding"))
			}
			require.Equal(t, 416, w.get("/files?path=r", "Range", "bytes=20000-").StatusCode)
			got := w.get("/files?path=r", "Range", "bytes=0-1,600-601")
			require.Equal(t, 206, got.StatusCode)
			require.Contains(t, got.Header.Get("Content-Type"), "multipart/byteranges")
			modified := w.get("/files?path=r").Header.Get("Last-Modified")
			require.Equal(t, 304, w.get("/files?path=r", "If-Modified-Since", modified, "Accept-Encoding", "gzip").StatusCode)
			require.Equal(t, 412, w.get("/files?path=r", "If-Unmodified-Since", time.Unix(1, 0).UTC().Format(http.TimeFormat)).StatusCode)
		})
		w.t.Run("metadata", func(t *testing.T) {
			w := *w
			w.t = t
			got := w.do("POST", "/files?path=m", strings.NewReader("x"), append(octets, "X-Metadata-Foo-Bar", "a b", "X-Metadata-N", "1")...)
			require.Equal(t, 200, got.StatusCode, got.body)
			require.Contains(t, got.body, `"metadata":{"foo-bar":"a b","n":"1"}`)
			require.Equal(t, map[string]string{"foo-bar": "a b", "n": "1"}, w.stat("m").Metadata)
			w.put("m", "y")
			require.Empty(t, w.stat("m").Metadata, "each upload has its own")
			for name, value := range map[string]string{
				"X-Metadata-" + strings.Repeat("k", 300): "v", "X-Metadata-A": strings.Repeat("v", 5000), "X-Metadata-B": "ü", "X-Metadata-": "x",
			} {
				require.Equal(t, 400, w.do("POST", "/files?path=m", strings.NewReader("x"), append(octets, name, value)...).StatusCode, name)
			}
		})
		w.t.Run("compose", func(t *testing.T) {
			w := *w
			w.t = t
			w.put("parts/1", "one ")
			w.put("parts/2", "")
			w.put("parts/3", "three")
			compose := func(body string) answer { return w.do("POST", "/files/compose", strings.NewReader(body)) }
			got := compose(`{"source_paths":["parts/1","parts/2","parts/3"],"destination":"whole/all","unknown":1}`)
			require.Equal(t, 200, got.StatusCode, got.body)
			require.Equal(t, "one three", w.get("/files?path=whole/all").body)
			require.Equal(t, 404, compose(`{"source_paths":["parts/1","parts/9"],"destination":"whole/not"}`).StatusCode)
			require.Equal(t, 404, w.get("/files?path=whole/not").StatusCode)
			for _, body := range []string{"", "[]", `{"source_paths":[],"destination":"x"}`, `{"source_paths":["parts/1"]}`} {
				require.Equal(t, 400, compose(body).StatusCode, body)
			}
		})
		w.t.Run("other endpoints", func(t *testing.T) {
			w := *w
			w.t = t
			got := w.get("/envs")
			require.JSONEq(t, fmt.Sprintf(`{"OWN":"x","E2B_SANDBOX":"true","E2B_SANDBOX_ID":%q,"E2B_TEMPLATE_ID":%q}`, w.member.ID(), w.member.Info().Template), got.body)
			var figures map[string]float64
			require.NoError(t, json.Unmarshal([]byte(w.get("/metrics").body), &figures))
			for _, name := range []string{"ts", "cpu_count", "mem_total", "mem_total_mib", "disk_total"} {
				require.Positive(t, figures[name], name)
			}
			require.Len(t, figures, 10)
			require.Equal(t, 204, w.without().get("/health").StatusCode)
			require.Equal(t, 204, w.without().get("//health").StatusCode)
			got = w.without().do(http.MethodOptions, "/files", nil)
			require.Equal(t, 204, got.StatusCode)
			require.Equal(t, "*", got.Header.Get("Access-Control-Allow-Origin"))
		})
	})
}

func TestSpecialFilesOfAContainer(t *testing.T) {
	onDocker(t, func(w *world) {
		require.Contains(t, w.get("/files?path=/proc/self/status").body, "Name:")
		require.Equal(t, 400, w.get("/files?path=/dev/null").StatusCode)
		require.Equal(t, 400, w.do("POST", "/files?path=/dev/null", strings.NewReader("x"), "Content-Type", "application/octet-stream").StatusCode)
		w.run("mkfifo pipe; ln -s /etc/passwd link; ln -s nowhere broken")
		require.Equal(t, 400, w.get("/files?path=pipe").StatusCode)
		require.Contains(t, w.get("/files?path=link").body, "root:")
		require.Equal(t, 404, w.get("/files?path=broken").StatusCode)
	})
}

func sign(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "v1_" + base64.RawStdEncoding.EncodeToString(sum[:])
}

func TestAccess(t *testing.T) {
	onLocal(t, func(w *world) {
		require.Equal(t, "v1_gUtH/s9YCJWgCizjfUxuWfhFE4QSydOWEIIvfLwDr6E", sign("hello.txt:read:user:0tQG31xiMp0IOQfaz9dcwi72L1CPo8e0"))
		w.put(url.QueryEscape("a b+c"), "secret")
		bare := w.without()
		wrong := *w
		wrong.token = "wrong"
		for _, path := range []string{"/metrics", "/envs", "/files/compose", "/init", "/nowhere"} {
			for _, who := range []*world{bare, &wrong} {
				got := who.get(path)
				require.Equal(t, 401, got.StatusCode, path)
				require.Contains(t, got.body, `{"code":401,"message":"unauthorized access, `)
			}
		}
		for _, path := range []string{"/filesystem.Filesystem/Stat", "/process.Process/List"} {
			got := bare.do("POST", path, strings.NewReader("{}"), "Content-Type", "application/json")
			require.Equal(t, 401, got.StatusCode)
			require.Contains(t, got.body, `"code":401`)
		}
		require.Equal(t, 401, wrong.get("/files?path=a").StatusCode, "a wrong token is not made good by a signature")

		token, path := w.member.AccessToken(), "a b+c"
		query := func(pairs ...string) string {
			values := url.Values{}
			for i := 0; i < len(pairs); i += 2 {
				values.Set(pairs[i], pairs[i+1])
			}
			return "/files?" + values.Encode()
		}
		future, past := fmt.Sprint(time.Now().Add(time.Hour).Unix()), fmt.Sprint(time.Now().Add(-time.Hour).Unix())
		const missing, invalid, expired = "missing signature query parameter", "invalid signature", "signature is already expired"
		for _, c := range []struct{ address, message string }{
			{query("path", path, "signature", sign(path+":read::"+token)), ""},
			{query("path", path, "username", "user", "signature", sign(path+":read:user:"+token)), ""},
			{query("path", path, "signature", sign(path+":read::"+token+":"+future), "signature_expiration", future), ""},
			{"/files?path=a+b%2Bc&signature=" + sign(path+":read::"+token), ""}, // not escaped
			{query("path", path), missing},
			{query("path", path, "signature", ""), missing},
			{query("path", path, "signature", "v1_x"), invalid},
			{query("path", path, "signature", strings.Repeat("v", 100_000)), invalid},
			{query("path", path, "signature", sign(path+":write::"+token)), invalid},
			{query("path", "other", "signature", sign(path+":read::"+token)), invalid},
			{query("path", path, "username", "root", "signature", sign(path+":read:user:"+token)), invalid},
			{query("path", path, "signature", sign(path+":read::"+token), "signature_expiration", future), invalid},
			{query("path", path, "signature", sign(path+":read::"+token+":x"), "signature_expiration", "x"), invalid},
			{query("path", path, "signature", sign(path+":read::"+token+":"+past), "signature_expiration", past), expired},
		} {
			r := httptest.NewRequest(http.MethodGet, c.address, nil)
			m, err := w.handler.Signed(r)
			if len(c.address) > 60_000 { // more than a client may send
				require.EqualError(t, err, c.message)
				continue
			}
			got := bare.get(c.address)
			if c.message == "" {
				require.Equal(t, "secret", got.body, c.address)
				require.NoError(t, err)
				require.Same(t, w.member, m)
				continue
			}
			require.Equal(t, 401, got.StatusCode, c.address)
			require.JSONEq(t, fmt.Sprintf(`{"code":401,"message":%q}`, c.message), got.body)
			require.ErrorIs(t, err, access.ErrBadKey)
			require.EqualError(t, err, c.message)
		}
		upload := query("path", "up", "signature", sign("up:write::"+token))
		body, kind := form(t, part{`form-data; name="file"`, "loaded"})
		require.Equal(t, 200, bare.do("POST", upload, body, "Content-Type", kind).StatusCode)
		require.Equal(t, "loaded", w.get("/files?path=up").body)
		require.Equal(t, 401, bare.get(upload).StatusCode)
	})
}
