"""Charts of every library: what a figure says as data."""

import pytest
from test_figures import kernel, need, shown  # noqa: F401

PYPLOT = "import matplotlib.pyplot as plt, numpy as np, datetime as dt\n"
FRAME = "import pandas as pd\ndf = pd.DataFrame({'x': [1, 2, 1, 2], 'y': [3, 1, 4, 2], 'g': list('aabb')})\n"


def chart(kernel, code):  # noqa: F811
    found = [b for b in shown(kernel.run(code)) if "image/png" in b or "e2b/chart" in b]
    assert len(found) == 1, [sorted(b) for b in found]
    return found[0].get("e2b/chart")


def drawn(kernel, code):  # noqa: F811
    need(kernel, "matplotlib")
    return chart(kernel, PYPLOT + code + "\nplt.show()")


def bars(c):
    return [(e["group"], e["label"], e["value"]) for e in c["elements"]]


def test_line(kernel):  # noqa: F811
    c = drawn(
        kernel,
        "plt.plot([dt.date(2024, 1, 1), dt.date(2024, 1, 2)], [1, 2], label='up')\n"
        "plt.plot(np.array(['2024-01-01', 'NaT'], 'M8[s]'), [np.nan, np.inf])\n"
        "plt.title(''); plt.xlabel('Time (s)')\n"
        "plt.ylabel('\u05e9\u05dc\u05d5\u05dd [log scale]'); plt.grid(True)",
    )
    assert (c["type"], c["title"], c["x_unit"], c["y_unit"]) == ("line", None, "s", "log scale")
    assert c["elements"] == [
        {"label": "up", "points": [["2024-01-01", 1], ["2024-01-02", 2]]},
        {"label": "Line 1", "points": [["2024-01-01T00:00:00", None], [None, None]]},
    ]
    assert c["x_scale"] == "datetime" and c["y_scale"] == "linear"
    assert c["x_ticks"][0].startswith("2024-01-01T00:00:00") and isinstance(c["x_tick_labels"][0], str)
    assert set(c) == {
        *("type", "title", "elements", "x_label", "y_label", "x_unit", "y_unit", "x_ticks", "x_tick_labels"),
        *("x_scale", "y_ticks", "y_tick_labels", "y_scale"),
    }


@pytest.mark.parametrize("grid", ["", "plt.grid(True)", "plt.axhline(3); plt.axvline(2)"])
@pytest.mark.parametrize(
    "code, kind",
    [
        ("plt.plot([1, 5], [1, 2])", "line"),
        ("plt.scatter([1, 2], [3, 4])", "scatter"),
        ("plt.bar(['a', 'b'], [1, 2])", "bar"),
        ("plt.boxplot([[1, 2, 3]], patch_artist=True)", "box_and_whisker"),
        ("plt.imshow([[1, 2], [3, 4]])", "unknown"),
    ],
)
def test_a_grid_does_not_change_the_type(kernel, code, kind, grid):  # noqa: F811
    assert drawn(kernel, code + "\n" + grid)["type"] == kind


@pytest.mark.parametrize("scale", ["log", "symlog", "logit", "asinh", "linear"])
def test_scales(kernel, scale):  # noqa: F811
    c = drawn(kernel, "plt.plot([0.1, 0.5], [0.1, 0.5]); plt.yscale(%r); plt.grid(True)" % scale)
    assert (c["type"], c["x_scale"], c["y_scale"]) == ("line", "linear", scale)


def test_categorical_axis(kernel):  # noqa: F811
    c = drawn(kernel, "plt.plot(['a', 'b'], [1, 2])")
    assert (c["x_scale"], c["x_ticks"], c["x_tick_labels"]) == ("categorical", [0, 1], ["a", "b"])


def test_scatter(kernel):  # noqa: F811
    c = drawn(kernel, "s = plt.scatter(['p', 'q'], [3, np.nan], c=[1, 2], label='s'); plt.colorbar(s)")
    assert c["type"] == "scatter" and c["elements"][0]["label"] == "s"
    assert c["elements"][0]["points"][0] == ["p", 3]


def test_bars_stand_and_lie(kernel):  # noqa: F811
    labels = "plt.xlabel('what [x]'); plt.ylabel('how (y)')"
    c = drawn(
        kernel,
        "plt.bar(['a', 'b'], [1, 2]); plt.bar(['a', 'b'], [3, 3], bottom=[1, 2], label='top');" + labels,
    )
    assert bars(c) == [("Group 0", "a", 1), ("Group 0", "b", 2), ("top", "a", 3), ("top", "b", 3)]
    assert (c["x_label"], c["y_unit"]) == ("what [x]", "y")
    c = drawn(kernel, "plt.barh(['a', 'b'], [1, 2]);" + labels)
    assert bars(c) == [("Group 0", "a", 1), ("Group 0", "b", 2)]
    assert (c["x_label"], c["y_label"], c["x_unit"], c["y_unit"]) == ("how (y)", "what [x]", "y", "x")


def test_pie(kernel):  # noqa: F811
    c = drawn(kernel, "plt.pie([1, 3], labels=['a', 'b'], autopct='%d%%')")
    assert c["elements"] == [
        {"label": "a", "angle": 90.0, "radius": 1.0},
        {"label": "b", "angle": 270.0, "radius": 1.0},
    ]


@pytest.mark.parametrize("options", ["", ", notch=True", ", showcaps=False"])
def test_boxes(kernel, options):  # noqa: F811
    c = drawn(kernel, "plt.boxplot([[1, 2, 3, 4, 50], [2, 4, 6]], patch_artist=True%s)" % options)
    first = {"min": 1, "first_quartile": 2, "median": 3, "third_quartile": 4, "max": 4, "outliers": [50]}
    assert c["elements"][0] == {"label": "1", **first}
    assert c["elements"][1]["median"] == 4 and len(c["elements"]) == 2


def test_boxes_that_lie(kernel):  # noqa: F811
    c = drawn(
        kernel,
        "import warnings; warnings.simplefilter('ignore')\n"
        "plt.boxplot([[1, 2, 3, 4, 50]], patch_artist=True, vert=False); plt.ylabel('who')",
    )
    assert c["elements"][0]["median"] == 3 and c["elements"][0]["outliers"] == [50]
    assert (c["x_label"], c["y_label"]) == ("who", None)


def test_subplots(kernel):  # noqa: F811
    c = drawn(
        kernel, "f, (a, b) = plt.subplots(1, 2); f.suptitle('Both'); a.plot([1]); b.pie([1]); a.grid(True)"
    )
    assert (c["type"], c["title"], [e["type"] for e in c["elements"]]) == (
        "superchart",
        "Both",
        ["line", "pie"],
    )


def test_an_empty_figure_has_no_chart(kernel):  # noqa: F811
    need(kernel, "matplotlib")
    (b,) = shown(kernel.run(PYPLOT + "plt.figure(); plt.axes(); plt.show()"))
    assert "image/png" in b and "e2b/chart" not in b


def test_bands_and_error_bars_leave_the_type(kernel):  # noqa: F811
    c = drawn(kernel, "plt.plot([1, 2, 3], [1, 2, 3]); plt.fill_between([1, 2, 3], [0, 1, 2], [2, 3, 4])")
    assert c["type"] == "line" and len(c["elements"]) == 1
    assert drawn(kernel, "plt.errorbar([1, 2, 3], [1, 2, 3], yerr=[1, 1, 1])")["type"] == "line"
    assert drawn(kernel, "plt.violinplot([[1, 2, 3]])")["type"] == "unknown"


def test_nan_everywhere(kernel):  # noqa: F811
    nan = "[float('nan')] * 4"
    for code in (
        "plt.plot(%s)",
        "plt.scatter(%s, [1] * 4)",
        "plt.bar(range(4), %s)",
        "plt.boxplot([%s], patch_artist=True)",
    ):
        assert drawn(kernel, code % nan) is not None


def test_a_million_points(kernel):  # noqa: F811
    for draw in ("plot(np.sin(np.arange(1_000_000)))", "scatter(np.arange(1e6), np.arange(1e6))"):
        c = drawn(kernel, "plt.%s" % draw)
        (e,) = c["elements"]
        assert e["point_count"] == 1_000_000 and 4_000 < len(e["points"]) <= 5_000
    took = kernel.run(
        "import time; from dskernel.charts.matplotlib import chart as _chart\n"
        "f, a = plt.subplots(); a.plot(np.sin(np.arange(1_000_000))); f.canvas.draw(); plt.close(f)\n"
        "t = time.thread_time(); _chart(f); print(time.thread_time() - t)"
    )
    assert float(took.stdout) < 0.2


def test_a_thousand_lines(kernel):  # noqa: F811
    c = drawn(kernel, "for n in range(1200): plt.plot(np.arange(3000))")
    assert len(c["elements"]) == 1000 and c["element_count"] == 1200
    assert all(len(e["points"]) <= 50 and e["point_count"] == 3000 for e in c["elements"])


def test_plots_of_pandas(kernel):  # noqa: F811
    need(kernel, "pandas", "matplotlib")
    c = drawn(kernel, FRAME + "pd.Series([1, 2], pd.date_range('2024', periods=2)).plot()")
    assert c["x_scale"] == "datetime"
    assert c["elements"][0]["points"] == [["2024-01-01T00:00:00", 1], ["2024-01-02T00:00:00", 2]]
    c = drawn(kernel, FRAME + "df.set_index('g')[['x']].plot.bar()")
    assert [e["label"] for e in c["elements"]] == ["a", "a", "b", "b"]


@pytest.mark.parametrize(
    "code, kind",
    [
        ("sns.lineplot(df, x='x', y='y')", "line"),
        ("sns.scatterplot(df, x='x', y='y', hue='g')", "scatter"),
        ("sns.barplot(df, x='g', y='y')", "bar"),
        ("sns.histplot(df.y)", "bar"),
        ("sns.boxplot(df, x='g', y='y')", "box_and_whisker"),
        ("sns.relplot(df, x='x', y='y', col='g')", "superchart"),
        ("sns.heatmap([[1, 2]])", "unknown"),
        ("sns.violinplot(df, x='g', y='y')", "unknown"),
    ],
)
def test_plots_of_seaborn(kernel, code, kind):  # noqa: F811
    need(kernel, "seaborn")
    assert drawn(kernel, FRAME + "import seaborn as sns\n" + code)["type"] == kind


HUES = (
    "import seaborn as sns\nimport pandas as pd, numpy as np\n"
    "d = pd.DataFrame({'day': np.repeat(['Thu', 'Fri'], 4), 'sex': list('fmfm') * 2,"
    " 'v': range(8), 't': [0, 0, 1, 1] * 2})\n"
)


@pytest.mark.parametrize(
    "code, kind, names",
    [
        (
            "sns.boxplot(d, x='day', y='v', hue='sex')",
            "box_and_whisker",
            ["Thu, f", "Fri, f", "Thu, m", "Fri, m"],
        ),
        ("sns.boxplot(d, x='day', y='v', hue='day')", "box_and_whisker", ["Thu", "Fri"]),
        ("sns.lineplot(d, x='t', y='v', hue='sex')", "line", ["f", "m"]),
        ("sns.lineplot(d.set_index('t')[['v']], legend=False)", "line", ["Line 0"]),
        ("sns.barplot(d, x='day', y='v', hue='sex')", "bar", ["f", "f", "m", "m"]),
        ("sns.barplot(d, y='day', x='v', hue='sex', capsize=.3)", "bar", ["f", "f", "m", "m"]),
        ("sns.scatterplot(d, x='t', y='v')", "scatter", ["Group 0"]),
        ("sns.scatterplot(d, x='t', y='v', hue='sex')", "scatter", ["f", "m"]),
        ("plt.bar(['a'], [1]); plt.plot([0, 1, 2], [1, 2, 4])", "unknown", []),
    ],
)
def test_names_of_seaborn(kernel, code, kind, names):  # noqa: F811
    need(kernel, "seaborn")
    c = drawn(kernel, HUES + code)
    assert (c["type"], [e.get("group", e["label"]) for e in c["elements"]]) == (kind, names)


def test_a_plot_of_seaborn_objects(kernel):  # noqa: F811
    need(kernel, "seaborn")
    c = chart(kernel, FRAME + "import seaborn.objects as so\nso.Plot(df, x='x', y='y').add(so.Dots())")
    assert c["type"] == "scatter" and len(c["elements"][0]["points"]) == 4


@pytest.mark.parametrize(
    "code, kind, elements",
    [
        ("px.line(df, x='x', y='y', color='g')", "line", [("a", [[1, 3], [2, 1]]), ("b", [[1, 4], [2, 2]])]),
        ("px.scatter(df, x='x', y='y')", "scatter", [("Group 0", [[1, 3], [2, 1], [1, 4], [2, 2]])]),
        ("px.bar(df[:2], x='x', y='y')", "bar", [("Group 0", "1", 3), ("Group 0", "2", 1)]),
        ("px.bar(df[:2], y='x', x='y', orientation='h')", "bar", [("Group 0", "1", 3), ("Group 0", "2", 1)]),
        ("px.pie(df, names='g', values='y')", "pie", [("a", 144.0), ("b", 216.0)]),
        ("px.box(df, x='g', y='y')", "box_and_whisker", [("a", 2.0), ("b", 3.0)]),
        ("px.scatter(df, x='x', y='y', facet_col='g')", "superchart", None),
        ("go.Figure(go.Heatmap(z=[[1, 2]]))", "unknown", []),
        (
            "px.histogram(df, x='y')",
            "bar",
            [("Group 0", "0.5", 1), ("Group 0", "2.5", 2), ("Group 0", "4.5", 1)],
        ),
        ("px.histogram(df, x='g')", "bar", [("Group 0", "a", 2), ("Group 0", "b", 2)]),
        (
            "px.histogram(df, y='g', x='y', histfunc='avg')",
            "bar",
            [("Group 0", "a", 2.0), ("Group 0", "b", 3.0)],
        ),
        (
            "px.histogram(df, x='y', color='g', nbins=2)",
            "bar",
            [("a", "0.5", 1), ("a", "2.5", 1), ("b", "0.5", 0), ("b", "2.5", 1), ("b", "4.5", 1)],
        ),
        ("px.histogram(df, x='y', cumulative=True)", "unknown", []),
        (
            "go.Figure(go.Bar(x=[['q', 'q'], ['a', 'b']], y=[1, 2]))",
            "bar",
            [("Group 0", "q, a", 1), ("Group 0", "q, b", 2)],
        ),
        ("px.line(df, x='x', y='y').add_bar(x=[1], y=[2])", "unknown", []),
    ],
)
def test_figures_of_plotly(kernel, code, kind, elements):  # noqa: F811
    need(kernel, "plotly", "pandas")
    c = chart(kernel, FRAME + "import plotly.express as px, plotly.graph_objects as go\n" + code)
    assert c["type"] == kind
    if elements is not None:
        assert simple(c) == elements


@pytest.mark.parametrize(
    "code, kind, elements",
    [
        (
            "b.mark_line().encode(x='x', y='y', color='g')",
            "line",
            [("a", [[1, 3], [2, 1]]), ("b", [[1, 4], [2, 2]])],
        ),
        ("b.mark_circle().encode(x='x', y='y')", "scatter", [("Group 0", [[1, 3], [2, 1], [1, 4], [2, 2]])]),
        ("b.mark_bar().encode(x='g', y='sum(y)')", "bar", [("Group 0", "a", 4), ("Group 0", "b", 6)]),
        ("b.mark_bar().encode(y='g', x='count()')", "bar", [("Group 0", "a", 2), ("Group 0", "b", 2)]),
        ("b.mark_arc().encode(theta='sum(y)', color='g')", "pie", [("a", 144.0), ("b", 216.0)]),
        ("b.mark_boxplot().encode(x='g:N', y='y:Q')", "box_and_whisker", [("a", 2.0), ("b", 3.0)]),
        ("b.mark_line().encode(x='x', y='y') | b.mark_bar().encode(x='g', y='y')", "superchart", None),
        ("b.mark_line().encode(x='x', y='y') | (b.mark_bar() & b.mark_arc())", "superchart", None),
        (
            "b.mark_bar().encode(x=alt.X('y', bin=True), y='count()')",
            "bar",
            [("Group 0", "1.25", 1), ("Group 0", "2.25", 1), ("Group 0", "3.25", 1), ("Group 0", "3.75", 1)],
        ),
        (
            "t = pd.to_datetime(['2024-01-02', '2024-02-03', '2024-01-09'])\n"
            "alt.Chart(pd.DataFrame({'t': t, 'y': [1, 2, 3]}))"
            ".mark_bar().encode(x='month(t):O', y='sum(y)')",
            "bar",
            [("Group 0", "Jan", 4), ("Group 0", "Feb", 2)],
        ),
        ("b.mark_bar().encode(x='quarter(y)', y='count()')", "unknown", []),
        ("b.mark_point().encode(x='x', y='y').facet('g')", "unknown", []),
    ],
)
def test_charts_of_altair(kernel, code, kind, elements):  # noqa: F811
    need(kernel, "altair", "pandas")
    c = chart(kernel, FRAME + "import altair as alt\nb = alt.Chart(df)\n" + code)
    assert c["type"] == kind
    if elements is not None:
        assert simple(c) == elements


@pytest.mark.parametrize(
    "code, kind, elements",
    [
        ("f.line([1, 2], [3, 1], legend_label='l'); f.scatter([1], [3])", "line", [("l", [[1, 3], [2, 1]])]),
        ("f.scatter(df.x, df.y, name='s')", "scatter", [("s", [[1, 3], [2, 1], [1, 4], [2, 2]])]),
        ("f.vbar(x=['a', 'b'], top=[1, 2], width=1)", "bar", [("Group 0", "a", 1), ("Group 0", "b", 2)]),
        ("f.hbar(y=['a', 'b'], right=[1, 2], height=1)", "bar", [("Group 0", "a", 1), ("Group 0", "b", 2)]),
        (
            "f.quad(left=[0, 1], right=[1, 2], top=[3, 4], bottom=0)",
            "bar",
            [("Group 0", "0.5", 3), ("Group 0", "1.5", 4)],
        ),
        (
            "f.wedge(0, 0, 1, start_angle=[0, math.pi], end_angle=[math.pi, 2 * math.pi])",
            "pie",
            [("0", 180.0), ("1", 180.0)],
        ),
        (
            "f = figure(x_range=['a', 'b']); f.segment(['a', 'b'], [0, 1], ['a', 'b'], [8, 9])\n"
            "f.vbar(['a', 'b'], .5, [4, 5], [2, 3]); f.vbar(['a', 'b'], .5, [6, 7], [4, 5])",
            "box_and_whisker",
            [("a", 4), ("b", 5)],
        ),
        (
            "from bokeh.models import ColumnDataSource, Whisker\n"
            "s = ColumnDataSource({'k': ['a'], 'u': [9], 'l': [0], 'q1': [2], 'q2': [4], 'q3': [6]})\n"
            "f = figure(x_range=['a']); f.add_layout(Whisker(base='k', upper='u', lower='l', source=s))\n"
            "f.vbar('k', .7, 'q2', 'q3', source=s); f.vbar('k', .7, 'q1', 'q2', source=s)",
            "box_and_whisker",
            [("a", 4)],
        ),
        ("f.vbar([1], .5, [3]); f.segment([1], [2], [1], [4])", "unknown", []),
        (
            "f.vbar_stack(['p', 'q'], x='k', width=1, source={'k': [1, 2], 'p': [1, 2], 'q': [3, 4]})",
            "bar",
            [("p", "1", 1), ("p", "2", 2), ("q", "1", 3), ("q", "2", 4)],
        ),
        ("f.image([[[1]]], 0, 0, 1, 1)", "unknown", []),
        ("f.line([1], [1]); f = row(f, f)", "superchart", None),
    ],
)
def test_figures_of_bokeh(kernel, code, kind, elements):  # noqa: F811
    need(kernel, "bokeh", "pandas")
    setup = "import math\nfrom bokeh.plotting import figure\nfrom bokeh.layouts import row\nf = figure()\n"
    c = chart(kernel, FRAME + setup + code + "\nf")
    assert c["type"] == kind
    if elements is not None:
        assert simple(c) == elements


def test_no_title_is_none(kernel):  # noqa: F811
    need(kernel, "altair", "pandas")
    c = chart(
        kernel,
        FRAME + "import altair as alt\nalt.Chart(df).mark_point().encode(alt.X('x', title=None), y='y')",
    )
    assert (c["x_label"], c["y_label"]) == (None, "y")


def test_charts_in_charts_are_told_one_by_one(kernel):  # noqa: F811
    need(kernel, "altair", "pandas")
    code = "import altair as alt\nb = alt.Chart(df).encode(x='x', y='y')\n"
    c = chart(kernel, FRAME + code + "b.mark_line() | (b.mark_bar() & b.mark_point())")
    assert [e["type"] for e in c["elements"]] == ["line", "bar", "scatter"]


M = "import time, numpy as np; M = 1_000_000; r = np.random.default_rng(0).random(M); i = np.arange(M)\n"
MANY = {
    "matplotlib": (
        "import matplotlib.pyplot as plt\nfrom dskernel.charts.matplotlib import chart as _chart\n"
        "def drawn(draw):\n"
        "    f, a = plt.subplots(); draw(a); f.canvas.draw(); plt.close(f); return f\n",
        {
            "drawn(lambda a: a.boxplot(r[:20_000].reshape(20, 1000), patch_artist=True))": (0.2, None),
            "drawn(lambda a: a.boxplot(r, patch_artist=True))": (0.2, None),
            "drawn(lambda a: a.bar(i[:5000], r[:5000]))": (0.2, 5000),
        },
    ),
    "plotly": (
        "import plotly.graph_objects as go\nfrom dskernel.charts.plotly import chart as _chart\n",
        {
            "go.Figure(go.Box(y=r)).to_dict()": (0.2, None),
            "go.Figure(go.Box(x=i // 100_000, y=r)).to_dict()": (0.2, None),
            "go.Figure([go.Box(y=r[:100])] * 1000).to_dict()": (0.2, None),
            "go.Figure(go.Bar(y=r)).to_dict()": (0.2, 1_000_000),
            "go.Figure(go.Pie(labels=i // 1000)).to_dict()": (0.2, None),
            "go.Figure(go.Histogram(x=r)).to_dict()": (0.2, None),
            "go.Figure(go.Scatter(y=r)).to_dict()": (0.2, None),
        },
    ),
    "bokeh": (
        "from bokeh.plotting import figure\nfrom dskernel.charts.bokeh import chart as _chart\n"
        "def drawn(draw):\n    f = figure(); draw(f); return f\n",
        {
            "drawn(lambda f: f.quad(left=i, right=i + 1, top=r, bottom=0))": (0.2, 1_000_000),
            "drawn(lambda f: f.vbar(x=i, top=r, width=1))": (0.2, 1_000_000),
            "drawn(lambda f: (f.vbar(i[:999], .5, r[:999] + 2, r[:999] + 1),"
            " f.segment(i[:999], 0, i[:999], r[:999] + 5)))": (0.2, None),
            "drawn(lambda f: f.line(i, r))": (0.2, None),
        },
    ),
    "altair": (  # whose rows are Python's own
        "import altair as alt, pandas as pd\nfrom dskernel.charts.altair import chart as _chart\n"
        "alt.data_transformers.disable_max_rows()\n"
        "b = alt.Chart(pd.DataFrame({'x': i[:300_000], 'y': r[:300_000]}))\n",
        {
            "b.mark_line().encode(x='x', y='y').to_dict()": (0.2, None),
            "b.mark_bar().encode(x='x', y='y').to_dict()": (0.2, 300_000),
            "b.mark_bar().encode(x=alt.X('y', bin=True), y='count()').to_dict()": (0.2, None),
            "b.mark_boxplot().encode(y='y').to_dict()": (0.2, None),
        },
    ),
}


@pytest.mark.parametrize("library", MANY)
def test_reading_a_figure_is_bounded(kernel, library):  # noqa: F811
    need(kernel, library, "pandas")
    setup, figures = MANY[library]
    assert kernel.run(M + setup).reply["status"] == "ok"
    for figure, (limit, count) in figures.items():
        r = kernel.run(
            "f = %s\ndef timed():\n    t = time.thread_time(); c = _chart(f)\n"
            "    return time.thread_time() - t, c\n"
            "t, c = min((timed() for _ in range(3)), key=lambda pair: pair[0])\n"  # others share the machine
            "print(t, c['type'], c.get('element_count'), len(c['elements']))" % figure
        )
        took, kind, true, kept = r.stdout.split()
        assert kind != "unknown" and int(kept) <= 1000 and true == str(count), (figure, r.stdout)
        assert float(took) < limit, (figure, r.stdout)


def simple(c):
    """Returns the elements of a chart as tuples of what matters."""
    out = []
    for e in c["elements"]:
        if "points" in e:
            out.append((e["label"], e["points"]))
        elif "group" in e:
            out.append((e["group"], e["label"], e["value"]))
        elif "angle" in e:
            out.append((e["label"], e["angle"]))
        else:
            out.append((e["label"], e["median"]))
    return out


def test_loading_costs_little(kernel):  # noqa: F811
    """Less than 15 ms of processor time, compiling included."""
    code = """
import subprocess, sys
import dskernel, os
code = '''
import sys, time
import ipykernel.ipkernel
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.display_formatter.mimebundle_formatter
sys.path.insert(0, %r)
begun = time.process_time()
from dskernel import display
display.install(shell)
print(time.process_time() - begun)
''' % os.path.dirname(dskernel.__path__[0])
command = [sys.executable, '-c', code]
print(min(float(subprocess.run(command, cwd='/', capture_output=True, text=True).stdout) for _ in range(3)))
"""
    took = kernel.run(code)
    assert float(took.stdout) < 0.015, took.stdout
