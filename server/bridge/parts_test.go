package bridge

import (
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func FuzzReadRequest(f *testing.F) {
	for _, seed := range []string{
		`{"type":"run","id":"1","code":"1+1","cell":"c","timeout_ms":5,"env":{"A":"b"},"args":["x"],"silent":true}`,
		`{"type":"interrupt","waiting":true}`, `{"type":"input","run":3,"value":"x"}`, `{"type":"input","end":true}`,
		`{"type":"complete","code":"a.","cursor":2}`, `{"type":"inspect","code":"a","cursor":1,"detail":1}`, `{"type":"ping"}`,
		`{"type":"create_context","language":"python","dir":"x"}`, `{"TYPE":"run"}`, `{"id":[]}`, "null", "", "{}", "\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := readRequest(data)
		require.NotNil(t, r)
		require.LessOrEqual(t, len(r.ID), maxID)
		if err != nil {
			require.NotEmpty(t, err.Error())
			require.True(t, utf8.ValidString(problemOf(err).Message) || !utf8.Valid(data))
			return
		}
		require.Contains(t, members, r.Type)
		require.LessOrEqual(t, len(r.Cell), maxCell)
		opts := r.options()
		require.GreaterOrEqual(t, opts.Timeout, opts.Timeout.Truncate(1))
		require.GreaterOrEqual(t, int64(opts.Timeout), int64(0))
	})
}
