package notebook_test

import (
	"context"
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/notebook"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func TestParametersGoWherePapermillPutsThem(t *testing.T) {
	one := []notebook.Parameter{{Name: "a", Value: 1}}
	const injected = "# Parameters\na = 1\n"
	sources := func(nb *notebook.Notebook) (list []string) {
		for _, c := range nb.Cells {
			list = append(list, c.Source)
		}
		return list
	}
	nb := makeNotebook("first", "a = 0", "last")
	require.NoError(t, nb.SetParameters(nil))
	require.Len(t, nb.Cells, 3)
	require.NoError(t, nb.SetParameters(one))
	require.Equal(t, []string{injected, "first", "a = 0", "last"}, sources(nb), "at the top when nothing says where")
	require.Equal(t, []string{notebook.TagInjected}, nb.Cells[0].Tags())

	nb = makeNotebook("first", "a = 0", "last")
	nb.Cells[1].Metadata["tags"] = []any{"x", "parameters"}
	require.NoError(t, nb.SetParameters(one))
	require.Equal(t, []string{"first", "a = 0", injected, "last"}, sources(nb))
	require.NoError(t, nb.SetParameters([]notebook.Parameter{{Name: "b", Value: "2"}}))
	require.Equal(t, []string{"first", "a = 0", "# Parameters\nb = \"2\"\n", "last"}, sources(nb), "in the place of the earlier")
	require.Equal(t, map[string]any{"b": "2"}, nb.Metadata["papermill"].(map[string]any)["parameters"])
}

func TestParametersOfACellAreListed(t *testing.T) {
	nb := makeNotebook("alpha = 1\nbeta: float = 2.0\n  indented = 3\ngamma == 4\n# d = 5\nalpha = 6\nnaïve=7")
	_, ok := nb.Parameters()
	require.False(t, ok)
	nb.Cells[0].Metadata["tags"] = []string{"parameters"}
	names, ok := nb.Parameters()
	require.True(t, ok)
	require.Equal(t, []string{"alpha", "beta", "naïve"}, names)
}

func TestParametersThatCanNotBeSetAreRefused(t *testing.T) {
	for _, test := range []struct {
		language string
		p        notebook.Parameter
		want     string
	}{
		{"python", notebook.Parameter{Name: "a b"}, `"a b" is no name of a variable in python`},
		{"python", notebook.Parameter{Name: "class"}, `"class" is no name`},
		{"python", notebook.Parameter{Name: "x\n1/0"}, "is no name"},
		{"python", notebook.Parameter{Name: ""}, `"" is no name`},
		{"python", notebook.Parameter{Name: "a", Value: struct{}{}}, "a: a value of type struct {} can't be"},
		{"python", notebook.Parameter{Name: "a", Value: "\xff"}, "a: the text is not UTF-8"},
		{"r", notebook.Parameter{Name: "_a"}, "is no name"},
	} {
		nb := notebook.New("k", "K", test.language)
		require.ErrorContains(t, nb.SetParameters([]notebook.Parameter{test.p}), test.want)
		require.Empty(t, nb.Cells)
	}
	nb := notebook.New("k", "K", "cobol")
	require.ErrorIs(t, nb.SetParameters([]notebook.Parameter{{Name: "a"}}), backends.ErrUnsupported)
}

func TestParametersInOtherLanguages(t *testing.T) {
	values := []notebook.Parameter{
		{Name: "a", Value: []any{nil, true, math.Inf(-1)}}, {Name: "b", Value: map[string]any{"k": "$x\""}},
	}
	r := notebook.New("ir", "R", "R")
	require.NoError(t, r.SetParameters(values))
	require.Equal(t, "# Parameters\na = list(NULL, TRUE, -Inf)\nb = list(\"k\" = \"$x\\\"\")\n", r.Cells[0].Source)
	julia := notebook.New("julia", "Julia", "julia")
	require.NoError(t, julia.SetParameters(values))
	require.Equal(t, "# Parameters\na = [nothing, true, -Inf]\nb = Dict(\"k\" => \"\\$x\\\"\")\n", julia.Cells[0].Source)
}

func TestParametersArriveAsTheyAre(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		nb := makeNotebook("import json\nprint(json.dumps([text, number, big, deep, flag, nothing, nan != nan, inf]))")
		require.NoError(t, nb.SetParameters([]notebook.Parameter{
			{Name: "text", Value: "quote ' \" \\ \n\t\x00\x7f ü \u2028 \U0001f600 שלום {x} %s"},
			{Name: "number", Value: 0.1},
			{Name: "big", Value: json.Number("123456789012345678901234567890")},
			{Name: "deep", Value: map[string]any{"a\"": []any{1, "b", map[string]any{}}}},
			{Name: "flag", Value: true},
			{Name: "nothing", Value: nil},
			{Name: "nan", Value: math.NaN()},
			{Name: "inf", Value: math.Inf(1)},
		}))
		require.NoError(t, notebook.Execute(ctx, nb, sbx.DefaultContext(), nil))
		require.Equal(t, `["quote ' \" \\ \n\t\u0000\u007f \u00fc \u2028 \ud83d\ude00 \u05e9\u05dc\u05d5\u05dd {x} %s", 0.1, `+
			`123456789012345678901234567890, {"a\"": [1, "b", {}]}, true, null, true, Infinity]`+"\n", nb.Cells[1].Outputs[0].Text)
	})
}

func TestParametersAreReadFromText(t *testing.T) {
	for text, want := range map[string]any{
		"a=1": json.Number("1"), "a=0.10": json.Number("0.10"), "a=x y": "x y", "a=": "", "a=True": true, "a=false": false, "a=None": nil,
		"a=null": nil, `a="1"`: "1", "a=[1, {\"b\": null}]": []any{json.Number("1"), map[string]any{"b": nil}}, "a=007": "007", "a= b=c": " b=c",
		"a=-inf": json.Number("-Infinity"), "a=2024-01-01": "2024-01-01", "a=[1,": "[1,",
	} {
		p, err := notebook.ParseParameter(text)
		require.NoError(t, err)
		require.Equal(t, notebook.Parameter{Name: "a", Value: want}, p, text)
	}
	for _, text := range []string{"", "a", "=1", " =1"} {
		_, err := notebook.ParseParameter(text)
		require.ErrorContains(t, err, "is no NAME=VALUE")
	}

	list, err := notebook.ParseParameters("z: 1\na: [x, 2.5, {k: null}]\nday: 2024-02-03\ntext: 'yes'\nbig: 18446744073709551615\n")
	require.NoError(t, err)
	require.Equal(t, []notebook.Parameter{
		{Name: "z", Value: 1},
		{Name: "a", Value: []any{"x", 2.5, map[string]any{"k": nil}}},
		{Name: "day", Value: "2024-02-03"},
		{Name: "text", Value: "yes"},
		{Name: "big", Value: uint64(math.MaxUint64)},
	}, list)
	none, err := notebook.ParseParameters("# nothing\n")
	require.NoError(t, err)
	require.Empty(t, none)
	for text, want := range map[string]string{
		"a: [": "line 1", "- 1": "line 1: not a mapping", "a: 1\nb: {1: 2}": "line 2: b: a mapping has a key that is no text",
		"a: &x [*x]": "x", "a: !!binary /w==": "line 1: a: a text is not UTF-8",
	} {
		_, err := notebook.ParseParameters(text)
		require.ErrorContains(t, err, want, text)
	}
}
