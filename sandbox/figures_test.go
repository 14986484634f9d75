package sandbox_test

import (
	"bytes"
	"context"
	"image/png"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// needModule skips where a library is not installed.
func needModule(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox, name string) {
	t.Helper()
	if run := mustRun(t, ctx, sbx, "from importlib.util import find_spec\nfind_spec('"+name+"') is not None"); run.Text() != "True" {
		t.Skip("this Python has no " + name)
	}
}

func TestAFigureIsAPictureAndData(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		needModule(t, ctx, sbx, "matplotlib")
		for _, end := range []string{";", "\nplt.show()"} {
			run := mustRun(t, ctx, sbx, "import matplotlib.pyplot as plt\nplt.title('عنوان — 标题')\nplt.plot([1, 2, float('nan')], label='a')"+end)
			require.Len(t, run.Results, 1)
			picture, ext, ok := run.Results[0].Image()
			require.True(t, ok)
			require.Equal(t, ".png", ext)
			_, err := png.Decode(bytes.NewReader(picture))
			require.NoError(t, err)
			chart, ok := run.Results[0].Figure()
			require.True(t, ok)
			require.IsType(t, &sandbox.LineChart{}, chart)
			require.Equal(t, "line chart 'عنوان — 标题' with 1 series of 3 points: a 1 to 2", chart.Digest())
			require.Empty(t, run.Results[0].Extra)
		}
	})
}

func TestAHundredAxesAndAMillionPoints(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		needModule(t, ctx, sbx, "matplotlib")
		run := mustRun(t, ctx, sbx, `
import matplotlib.pyplot as plt, numpy as np
fig, axes = plt.subplots(10, 10)
for ax in axes.flat: ax.bar(["a", "b"], [1, 2])
plt.show()
plt.plot(np.sin(np.arange(1_000_000)), label="sine")
plt.show()`)
		require.Len(t, run.Results, 2)
		chart, ok := run.Results[0].Figure()
		require.True(t, ok)
		figure := chart.(*sandbox.SuperChart)
		require.Len(t, figure.Elements, 100)
		chart, ok = run.Results[1].Figure()
		require.True(t, ok)
		line := chart.(*sandbox.LineChart).Elements[0]
		require.Equal(t, 1_000_000, line.Count())
		require.LessOrEqual(t, len(line.Points), 5000)
	})
}

func TestATableIsData(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		needModule(t, ctx, sbx, "pandas")
		run := mustRun(t, ctx, sbx, `
import pandas as pd
pd.DataFrame({"z": range(50_000), "a": float("nan")}, index=pd.RangeIndex(5, 50_005, name="k"))`)
		table, ok := run.Results[0].Table()
		require.True(t, ok)
		require.Equal(t, "z", table.Columns[0].Name)
		require.Equal(t, []int{50_000, 2, 10_000}, []int{table.Rows, table.Width, table.Kept()})
		require.Equal(t, "null", string(table.Columns[1].Values[0]))
		require.Equal(t, "5", string(table.Index[0].Values[0]))
		require.NotEmpty(t, run.Results[0].HTML)
	})
}

func TestAFormThatNeverEndsEndsWithTheRunsTime(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		mustRun(t, ctx, sbx, "class Slow:\n    def _repr_html_(self):\n        while True: pass")
		_, err := sbx.RunCode(ctx, "Slow()", &sandbox.RunOptions{Timeout: 500 * time.Millisecond})
		require.ErrorIs(t, err, sandbox.ErrTimeout)
		require.Equal(t, "2", mustRun(t, ctx, sbx, "1 + 1").Text())
	})
}
