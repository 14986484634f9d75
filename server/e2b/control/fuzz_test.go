package control

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzCreateBody has bodies from anybody: they are refused with a word of what is wrong, or make a spec.
func FuzzCreateBody(f *testing.F) {
	f.Add(`{"templateID":"base","timeout":300,"metadata":{"a":"b"},"autoResume":{"enabled":true},"network":{"allowOut":["a.b"],"rules":{}}}`)
	f.Add(`{"templateID":"base","timeout":1e99,"mcp":[[[]]],"volumeMounts":" "}`)
	f.Add(`[{"templateID":null}]`)
	f.Fuzz(func(t *testing.T, text string) {
		var body createBody
		r := httptest.NewRequest(http.MethodPost, "/sandboxes", strings.NewReader(text))
		err := decode(httptest.NewRecorder(), r, &body)
		if err == nil {
			spec, specErr := body.spec(timeoutV1, true)
			if err = specErr; err == nil {
				require.NotEmpty(t, spec.Template)
				require.Positive(t, spec.Timeout)
			}
		}
		if err != nil {
			w := httptest.NewRecorder()
			write(w, err)
			require.Contains(t, []int{400, 413, 501}, w.Code, err)
			require.True(t, json.Valid(w.Body.Bytes()))
		}
	})
}

// FuzzListQuery has queries from anybody.
func FuzzListQuery(f *testing.F) {
	f.Add("a%2520b%3Dc%2526d", "MTczMjU4NjE2NjAwMDAwMDAwMCBpZA")
	f.Add("%25zz=1;2", "====")
	f.Fuzz(func(t *testing.T, metadata, token string) {
		if pairs, err := parseMetadata(metadata); err == nil {
			require.NotNil(t, pairs)
		}
		m, err := parseToken(token)
		if err != nil {
			return
		}
		again, err := parseToken(m.token())
		require.NoError(t, err)
		require.Zero(t, m.compare(again))
		entries := []mark{{time.Unix(0, 1), "a"}, {time.Unix(0, 1), "b"}, {time.Unix(0, 2), "a"}}
		for _, descending := range []bool{false, true} {
			part, next, err := page(entries, 1, token, descending, func(m *mark) mark { return *m })
			require.NoError(t, err)
			require.LessOrEqual(t, len(part), 1)
			if next != "" {
				require.NotEqual(t, token, next, "pages end")
			}
			slices.Reverse(entries)
		}
	})
}
