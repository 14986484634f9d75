package envd

import (
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func FuzzDestination(f *testing.F) {
	for _, seed := range []string{
		`form-data; name="file"; filename="/home/user/a b"`, `form-data; name=file; filename*=UTF-8''%e2%82%ac`, `form-data; name="file"; filename="C:\a\"b"`,
		`attachment; filename=x`, `form-data; name="file"; filename="../../x"`, `form-data;;`, "form-data; name=\"file\"; filename=\"\x00\"", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, disposition string) {
		field, destination := destinationOf(disposition)
		if destination != "" && !strings.Contains(disposition, "*") && !strings.Contains(disposition, `\`) {
			require.Contains(t, disposition, destination, "it is taken as it is")
		}
		if field == "" {
			return
		}
		for _, p := range []*place{{home: "/srv/ws"}, {home: "/home/user", whole: true}} {
			at, err := p.locate(destination)
			if err != nil {
				require.False(t, p.whole, "a container has all files")
				continue
			}
			require.True(t, path.IsAbs(at.path))
			require.Equal(t, path.Clean(at.path), at.path)
			if !p.whole {
				require.True(t, strings.HasPrefix(at.path+"/", at.base+"/"), at.path)
				require.NotContains(t, "/"+at.name+"/", "/../")
			}
		}
	})
}

func FuzzSignature(f *testing.F) {
	f.Add("path=a&signature=v1_x")
	f.Add("path=a&username=user&signature=v1_x&signature_expiration=1700000000")
	f.Add("signature=%zz;&signature_expiration=-1")
	f.Add("signature=a b&signature_expiration=99999999999999999999")
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest(http.MethodGet, "/files", nil)
		r.URL.RawQuery = query
		s, err := parseSignature(r)
		if err != nil {
			require.Contains(t, []string{missingSignature, badSignature}, err.Error())
			return
		}
		require.NotEmpty(t, s.given)
		require.LessOrEqual(t, len(s.given), maxSignature)
		require.True(t, strings.HasPrefix(s.sign("token"), "v1_"))
		if err := s.checkTime(time.Unix(1700000000, 0)); err != nil {
			require.EqualError(t, err, expiredSignature)
			require.True(t, s.expiring)
		}
	})
}

func FuzzAcceptEncoding(f *testing.F) {
	for _, seed := range []string{"gzip, deflate", "gzip;q=0", "*;q=0.5, identity;q=0", "identity;q=NaN", ";;,,q=", "gzip;q=1e300"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		coding, ok := negotiate([]string{value})
		require.Equal(t, ok, coding == codingGzip || coding == codingIdentity)
		if coding == codingGzip {
			require.True(t, strings.Contains(strings.ToLower(value), "gzip") || strings.Contains(value, "*"))
		}
	})
}

func FuzzForm(f *testing.F) {
	f.Add("--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"/x\"\r\n\r\ntext\r\n--b--\r\n")
	f.Add("--b\r\n\r\n--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n")
	f.Add("--b--")
	f.Fuzz(func(t *testing.T, body string) {
		parts := multipart.NewReader(strings.NewReader(body), "b")
		for range 100 {
			part, err := parts.NextRawPart()
			if err != nil {
				if err != io.EOF { // as in uploader.parts
					require.Equal(t, http.StatusBadRequest, faultOf(malformed(err)).Status)
				}
				return
			}
			destinationOf(part.Header.Get("Content-Disposition"))
			if _, err := io.Copy(io.Discard, &partReader{part}); err != nil {
				require.Equal(t, http.StatusBadRequest, faultOf(err).Status)
				return
			}
		}
	})
}

func FuzzMetadata(f *testing.F) {
	f.Add("X-Metadata-Key", "value")
	f.Add("X-Metadata-", "\x00")
	f.Fuzz(func(t *testing.T, name, value string) {
		metadata, err := metadataOf(http.Header{http.CanonicalHeaderKey(name): {value}})
		if err != nil {
			require.Equal(t, http.StatusBadRequest, faultOf(err).Status)
			return
		}
		for key, value := range metadata {
			require.True(t, isKey(key))
			require.LessOrEqual(t, len(key)+len(value), maxMetadata)
		}
	})
}

func TestLoginShellsFindTheSandboxesPython(t *testing.T) {
	for _, c := range []struct {
		args, want []string
		prompt     bool
	}{
		{[]string{"/bin/bash", "-l", "-c", "echo"}, []string{"/bin/bash", "-l", "-c", restorePath + "echo"}, false},
		{[]string{"bash", "-l", "-c"}, []string{"bash", "-l", "-c"}, false},
		{[]string{"/bin/bash", "-c", "echo"}, []string{"/bin/bash", "-c", "echo"}, false},
		{[]string{"/bin/bash", "-i", "-l"}, []string{"/bin/bash", "-i", "-l"}, true},
		{[]string{"python3", "-l", "-c", "x"}, []string{"python3", "-l", "-c", "x"}, false},
		{[]string{"bash"}, []string{"bash"}, false},
	} {
		env, given := map[string]string{}, append([]string(nil), c.args...)
		require.Equal(t, c.want, loginShell(c.args, env))
		require.Equal(t, given, c.args, "what was asked for stays")
		require.Equal(t, c.prompt, env["PROMPT_COMMAND"] != "")
	}
}
