package sandbox_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

const axesJSON = `"x_label":"Time (s)","y_label":null,"x_unit":"s","y_unit":null,"x_ticks":[0,1.5],"x_tick_labels":["0","1.5"],` +
	`"x_scale":"linear","y_ticks":["2024-01-01T00:00:00"],"y_tick_labels":["2024"],"y_scale":"datetime"`

var charts = []struct{ name, json, digest string }{
	{
		"line",
		`{"type":"line","title":"Loss",` + axesJSON + `,"elements":[{"label":"train","points":[[0,0.9],[1,null],[2,0.1]]},` +
			`{"label":"test <b>","points":[[0,"a"],[1,"b"],[2,"c"]]}]}`,
		"line chart 'Loss' over Time (s) with 2 series of 3 points: train 0.9 to 0.1, test <b> a to c",
	},
	{
		"thinned line",
		`{"type":"line","title":null,` + axesJSON + `,"elements":[{"label":"a","points":[[0,1],[9,2]],"point_count":1000000}]}`,
		"line chart over Time (s) with 1 series of 1000000 points: a 1 to 2",
	},
	{
		"scatter",
		`{"type":"scatter","title":"S",` + axesJSON + `,"elements":[{"label":"g","points":[[3,1],[-1,2.5]]},{"label":"h","points":[]}]}`,
		"scatter chart 'S' over Time (s) with 2 series: g x -1 to 3, y 1 to 2.5 (2 points), h x no values, y no values (0 points)",
	},
	{
		"bar",
		`{"type":"bar","title":null,"x_label":"who","y_label":"kg","x_unit":null,"y_unit":null,"elements":[` +
			`{"label":"שלום","group":"Group 0","value":1},{"label":"b","group":"Group 0","value":null}]}`,
		"bar chart of kg over who with 2 bars: שלום 1, b none",
	},
	{
		"pie",
		`{"type":"pie","title":"P","elements":[{"label":"a","angle":90,"radius":1},{"label":"b","angle":270,"radius":1}]}`,
		"pie chart 'P' with 2 slices: a 25.0%, b 75.0%",
	},
	{
		"box",
		`{"type":"box_and_whisker","title":null,` + axesJSON + `,"elements":[{"label":"p","min":1,"first_quartile":2,"median":3,` +
			`"third_quartile":4,"max":5,"outliers":[50]}],"element_count":7}`,
		"box chart over Time (s) with 7 boxes: p median 3 (quartiles 2 and 4, whiskers 1 and 5) 1 outlier",
	},
	{
		"superchart",
		`{"type":"superchart","title":"Two","elements":[{"type":"unknown","title":null,"elements":[]},` +
			`{"type":"pie","title":null,"elements":[]}]}`,
		"figure 'Two' with 2 charts\n- figure\n- pie chart with 0 slices",
	},
	{"unknown", `{"type":"unknown","title":"A map","elements":[]}`, "figure 'A map'"},
}

func TestChartsRoundTripAndTellWhatTheyShow(t *testing.T) {
	for _, c := range charts {
		t.Run(c.name, func(t *testing.T) {
			chart, err := sandbox.DecodeChart([]byte(c.json))
			require.NoError(t, err)
			again, err := json.Marshal(chart)
			require.NoError(t, err)
			require.JSONEq(t, c.json, string(again))
			require.Equal(t, c.digest, chart.Digest())
			require.Contains(t, c.json, `"type":"`+chart.Kind()+`"`)
		})
	}
}

func TestValuesOfCharts(t *testing.T) {
	require.True(t, sandbox.Number(math.NaN()).IsNull())
	require.True(t, sandbox.Number(math.Inf(1)).IsNull())
	f, ok := sandbox.Number(2.5).Float()
	require.True(t, ok)
	require.InDelta(t, 2.5, f, 0)
	_, ok = sandbox.Text("2.5").Float()
	require.False(t, ok)
	data, err := json.Marshal([]sandbox.Value{sandbox.Number(1), sandbox.Text(""), {}})
	require.NoError(t, err)
	require.JSONEq(t, `[1,"",null]`, string(data))
}

func TestHostileChartsAreRefusedOrEmpty(t *testing.T) {
	for name, data := range map[string]string{
		"nothing": ``, "null": `null`, "a list": `[]`, "no type": `{}`, "a number as type": `{"type":1}`, "half": `{"type":"line"`,
		"too many": `{"type":"line","elements":[` + strings.Repeat("{},", 600_000) + `{}]}`,
		"too long": `{"type":"line","title":"` + strings.Repeat("a", 17<<20) + `"}`,
	} {
		_, err := sandbox.DecodeChart([]byte(data))
		require.ErrorIs(t, err, sandbox.ErrNoChart, name)
	}
	for name, data := range map[string]string{
		"wrong members": `{"type":"line","title":3,"x_ticks":{},"elements":[1,"x",{"label":[],"points":3},{"label":"a","points":[[1],[1,2,3],[{},[]]]}]}`,
		"future kind":   `{"type":"radar","title":"R","elements":[1]}`,
		"no elements":   `{"type":"pie"}`,
		"nested deeply": strings.Repeat(`{"type":"superchart","elements":[`, 3000) + strings.Repeat(`]}`, 3000),
	} {
		chart, err := sandbox.DecodeChart([]byte(data))
		require.NoError(t, err, name)
		_, err = json.Marshal(chart)
		require.NoError(t, err, name)
		require.NotEmpty(t, chart.Digest(), name)
	}
}

func TestADigestIsShortAndPlain(t *testing.T) {
	long := strings.Repeat("ü\x1b[31m\u202e\n", 10_000)
	bars := make([]sandbox.Bar, 1000)
	for i := range bars {
		bars[i] = sandbox.Bar{Label: long, Group: long, Value: sandbox.Text(long)}
	}
	pies := make([]sandbox.Chart, 500)
	for i := range pies {
		pies[i] = &sandbox.BarChart{Title: sandbox.Label(long), Elements: bars}
	}
	for _, chart := range []sandbox.Chart{pies[0], &sandbox.SuperChart{Title: sandbox.Label(long), Elements: pies}} {
		digest := chart.Digest()
		require.LessOrEqual(t, len(digest), 2048)
		require.True(t, utf8.ValidString(digest))
		require.NotContains(t, digest, "\x1b")
		require.NotContains(t, digest, "\u202e")
		require.Contains(t, digest, "more")
	}
}

func FuzzDecodeChart(f *testing.F) {
	for _, c := range charts {
		f.Add([]byte(c.json))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		chart, err := sandbox.DecodeChart(data)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(chart.Digest()), 2048)
		first, err := json.Marshal(chart)
		require.NoError(t, err)
		again, err := sandbox.DecodeChart(first)
		require.NoError(t, err)
		second, err := json.Marshal(again)
		require.NoError(t, err)
		require.Equal(t, string(first), string(second))
	})
}
