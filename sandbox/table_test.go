package sandbox_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func TestATableKnowsItsColumnsAndItsTrueSize(t *testing.T) {
	table, err := sandbox.DecodeTable(
		[]byte(`{"b":[1,4611686018427387905],"a":["x, \"y\"",null]}`),
		[]byte(`{"columns":[{"name":"b","dtype":"int64"},{"name":"a","dtype":"object"}],"shape":[1000,3],"rows":2,
			"index":[{"name":"k","dtype":"object","values":["p",1.5]}]}`))
	require.NoError(t, err)
	require.Equal(t, "b", table.Columns[0].Name)
	require.Equal(t, "4611686018427387905", string(table.Columns[0].Values[1]), "exact")
	require.Equal(t, []int{1000, 3, 2}, []int{table.Rows, table.Width, table.Kept()})
	require.Equal(t, "table of 1000 rows and 3 columns, the first 2 rows here: b (int64), a (object)", table.Digest())
	var b strings.Builder
	require.NoError(t, table.WriteCSV(&b))
	require.Equal(t, "k,b,a\np,1,\"x, \"\"y\"\"\"\n1.5,4611686018427387905,\n", b.String())
	f, ok := table.Columns[0].Float(0)
	require.True(t, ok)
	require.InDelta(t, 1, f, 0)
	_, ok = table.Columns[1].Float(0)
	require.False(t, ok)
}

func TestATableOfE2BsFormAlone(t *testing.T) {
	for _, about := range []string{"", "null", "[]", `{"columns":3,"shape":"x"}`, `{"shape":[-5,-5]}`, `{"shape":[1]}`} {
		var raw json.RawMessage
		if about != "" {
			raw = json.RawMessage(about)
		}
		table, err := sandbox.DecodeTable([]byte(`{"b":[1],"a":[2],"odd":7}`), raw)
		require.NoError(t, err, about)
		require.Len(t, table.Columns, 2)
		require.Equal(t, "a", table.Columns[0].Name)
		require.Equal(t, []int{1, 2}, []int{table.Rows, table.Width})
	}
}

func TestHostileTablesAreRefused(t *testing.T) {
	for name, data := range map[string]string{
		"nothing": "", "null": "null", "a list": "[]", "half": `{"a":[1`,
		"too many": `{"a":[` + strings.Repeat("1,", 2_100_000) + `1]}`,
	} {
		_, err := sandbox.DecodeTable([]byte(data), nil)
		require.ErrorIs(t, err, sandbox.ErrNoTable, name)
	}
}

func FuzzDecodeTable(f *testing.F) {
	f.Add([]byte(`{"a":[1,null,"x",{}]}`), []byte(`{"columns":[{"name":"a"}],"shape":[3,1],"index":[{"name":"k","values":[1]}]}`))
	f.Fuzz(func(t *testing.T, data, about []byte) {
		table, err := sandbox.DecodeTable(data, about)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(table.Digest()), 2048)
		require.NoError(t, table.WriteCSV(&strings.Builder{}))
		require.GreaterOrEqual(t, table.Rows, table.Kept())
	})
}
