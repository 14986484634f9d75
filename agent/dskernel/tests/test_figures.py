"""Figures and tables in a kernel: what arrives, beside what stock IPython sends."""

import base64
import json
import shutil
import struct

import pytest
from interpreters import has
from kernel import Kernel


@pytest.fixture(scope="module")
def kernel(kernel_python):
    k = Kernel(kernel_python)
    yield k
    k.close()


def need(kernel, *modules):
    for module in modules:
        if not has(kernel.args[0], module):
            pytest.skip("%s has no %s" % (kernel.args[0], module))


def shown(run):
    """Returns the bundles of a run, in their order."""
    assert run.reply["status"] == "ok", run.reply
    return [c["data"] for c in run.of("display_data") + run.of("execute_result")]


def one(kernel, code):
    found = shown(kernel.run(code))
    assert len(found) == 1, [sorted(b) for b in found]
    return found[0]


def is_png(bundle):
    return base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")


def test_nothing_is_imported_before_it_is_needed(kernel_python):
    k = Kernel(kernel_python)
    try:
        r = k.run(
            "import sys\n1 + 1\n"
            "print(sorted(m for m in sys.modules if m.startswith('dskernel.')))\n"
            "print([m for m in ('numpy', 'pandas', 'matplotlib', 'PIL', 'plotly') if m in sys.modules])"
        )
        modules, heavy = r.stdout.splitlines()
        for late in ("charts", "tables", "pictures", "plain", "values"):
            assert "dskernel." + late not in modules
        assert heavy == "[]"
        assert k.run("[n for n in dir() if 'ds' in n or 'e2b' in n]").result == "[]"
    finally:
        k.close()


@pytest.mark.parametrize(
    "code",
    [
        "plt.plot([1, 2, 3]);",
        "plt.plot([1, 2, 3])\nplt.show()",
        "import matplotlib; fig = plt.figure(); fig.subplots().plot([1, 2, 3]); plt.close(); display(fig)",
        "from matplotlib.figure import Figure\nfig = Figure(); fig.subplots().plot([1, 2, 3]); fig",
    ],
)
def test_a_figure_is_a_picture_and_a_chart(kernel, code):
    need(kernel, "matplotlib")
    b = one(kernel, "import matplotlib.pyplot as plt\n" + code)
    assert is_png(b) and "text/plain" in b
    assert b["e2b/chart"]["type"] == "line"
    assert b["e2b/chart"]["elements"][0]["points"] == [[0, 1], [1, 2], [2, 3]]


def test_a_figure_without_pyplot_is_shown_in_the_first_run(kernel_python):
    k = Kernel(kernel_python)
    try:
        need(k, "matplotlib")
        b = one(k, "from matplotlib.figure import Figure\nf = Figure(); f.subplots().plot([1, 2]); f")
        assert is_png(b) and b["e2b/chart"]["type"] == "line"
        assert is_png(one(k, "import matplotlib.pyplot as plt; plt.plot([1, 2]);"))
    finally:
        k.close()


def test_several_figures_come_in_order(kernel):
    need(kernel, "matplotlib")
    code = "import matplotlib.pyplot as plt\n"
    code += "for n in range(3): plt.figure(); plt.title('f%d' % n); plt.plot([n])"
    assert [b["e2b/chart"]["title"] for b in shown(kernel.run(code))] == ["f0", "f1", "f2"]


def test_show_comes_before_the_value(kernel):
    need(kernel, "matplotlib")
    r = kernel.run("import matplotlib.pyplot as plt\nplt.plot([1])\nplt.show()\n6 * 7")
    assert [k for k in r.kinds if k != "stream"] == ["display_data", "execute_result"]


def test_saving_and_closing_shows_nothing(kernel):
    need(kernel, "matplotlib")
    code = """
import os, matplotlib.pyplot as plt
plt.plot([1, 2]); plt.savefig('figure.png'); plt.savefig('figure.jpg'); plt.close()
plt.plot([1, 2]); plt.close('all')
os.path.getsize('figure.png') > 1000
"""
    assert shown(kernel.run(code)) == [{"text/plain": "True"}]


def test_retina_and_svg_keep_the_chart(kernel):
    need(kernel, "matplotlib")
    draw = "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show()"
    try:
        r = kernel.run("%config InlineBackend.figure_formats = ['retina', 'svg']\n" + draw)
        (b,) = shown(r)
        assert is_png(b) and b["image/svg+xml"].lstrip().startswith("<?xml")
        assert b["e2b/chart"]["type"] == "line"
        assert r.of("display_data")[0]["metadata"]["image/png"]["width"] > 100
    finally:
        kernel.run("%config InlineBackend.figure_formats = ['png']")


def test_an_odd_figure_still_shows_its_picture(kernel):
    need(kernel, "matplotlib")
    code = """
import matplotlib.pyplot as plt
class Odd(float):
    def __float__(self): raise SystemExit("odd")
fig, ax = plt.subplots()
line, = ax.plot([1, 2])
line.get_label = lambda: (_ for _ in ()).throw(SystemExit(3))
line.get_xdata = lambda orig=True: object()
plt.show()
print('still here')
"""
    r = kernel.run(code)
    (b,) = shown(r)
    assert is_png(b) and b.get("e2b/chart", {"type": "unknown"})["type"] == "unknown"
    assert r.stdout == "still here\n"


def test_a_formatter_that_raises_and_one_that_never_returns(kernel):
    r = kernel.run(
        "class Bad:\n  def _repr_e2b_chart_(self): raise ValueError('bad')\n"
        "  def __repr__(self): return 'shown'\nBad()"
    )
    assert not r.of("error") and r.reply["status"] == "ok" and r.result == "shown"
    code = """
import time
class Slow:
    def _repr_html_(self):
        print('begun', flush=True)
        while True: time.sleep(0.01)
Slow()
"""
    r = kernel.run_interrupted(code)
    assert not r.of("execute_result") or "text/html" not in r.of("execute_result")[0]["data"]
    assert kernel.run("1 + 1").result == "2"


def test_methods_of_the_users_objects(kernel):
    code = """
class Mine:
    def _repr_e2b_data_(self): return {"a": [1]}
    def _repr_e2b_chart_(self): return {"type": "unknown", "title": None, "elements": []}
    def _repr_latex_(self): return "$x$"
Mine()
"""
    b = one(kernel, code)
    assert b["e2b/data"] == {"a": [1]} and b["e2b/chart"]["type"] == "unknown" and b["text/latex"] == "$x$"


def test_lists_and_dicts_are_json(kernel):
    assert one(kernel, "{'a': [1, 2.5, None, float('nan')], 3: {'b': True}}")["application/json"] == {
        "a": [1, 2.5, None, None],
        "3": {"b": True},
    }
    assert one(kernel, "[1, 'x', 2**70]")["application/json"] == [1, "x", 2**70]
    for code in (
        "x = []; x.append(x); x",
        "list(range(100_000))",
        "class D(dict): pass\nclass B(list): pass\nobject()",
    ):
        assert "application/json" not in one(kernel, code)


def test_pictures_of_pil(kernel):
    need(kernel, "PIL")
    make = "from PIL import Image; im = Image.new('RGB', (4, 4), 'red')\n"
    assert is_png(one(kernel, make + "im"))
    assert is_png(one(kernel, make + "im.show()"))
    assert is_png(one(kernel, make + "im.save('red.png')"))
    assert shown(kernel.run(make + "import io; im.save(io.BytesIO(), format='png')")) == []
    assert len(shown(kernel.run(make + "for n in range(50): im.save('red.png')"))) == 10


def test_tables_of_pandas(kernel):
    need(kernel, "pandas")
    code = """
import pandas as pd, numpy as np, decimal
df = pd.DataFrame({
    "i": [1, 2**62], "f": [np.nan, np.inf], "t": pd.to_datetime(["2024-01-02", None]), "s": ["\u05d0", None],
    "big": [2**70, -1], "d": [decimal.Decimal("0.10"), None],
    "tz": pd.to_datetime(["2024-01-02", None], utc=True)})
df
"""
    r = kernel.run(code)
    b = r.of("execute_result")[0]
    assert b["data"]["e2b/data"] == {
        "i": [1, 2**62],
        "f": [None, None],
        "t": ["2024-01-02T00:00:00", None],
        "s": ["\u05d0", None],
        "big": [2**70, -1],
        "d": ["0.10", None],
        "tz": ["2024-01-02T00:00:00+00:00", None],
    }
    about = b["metadata"]["e2b/data"]
    assert about["shape"] == [2, 7] and about["rows"] == 2 and "index" not in about
    assert [c["name"] for c in about["columns"]] == ["i", "f", "t", "s", "big", "d", "tz"]
    assert about["columns"][0]["dtype"] == "int64" and "text/html" in b["data"]


def test_tables_are_cut_and_say_so(kernel):
    need(kernel, "pandas")
    r = kernel.run("import pandas as pd; pd.DataFrame({'a': range(1_000_000), 'b': 1.5})")
    b = r.of("execute_result")[0]
    assert b["metadata"]["e2b/data"]["shape"] == [1_000_000, 2]
    rows = b["metadata"]["e2b/data"]["rows"]
    assert rows == len(b["data"]["e2b/data"]["a"]) == 10_000


@pytest.mark.parametrize(
    "code, columns",
    [
        ("pd.Series([1, None], name='x', index=['p', 'q'])", {"x": [1.0, None]}),
        ("pd.Series([1, None], dtype='Int64')", {"0": [1, None]}),
        ("pd.Index([1, 2], name='i')", {"i": [1, 2]}),
        ("pd.MultiIndex.from_tuples([(1, 'a'), (2, 'b')])", {"0": [1, 2], "1": ["a", "b"]}),
        ("pd.DataFrame([[1, 2]], columns=['a', 'a'])", {"a": [1], "a.1": [2]}),
        ("pd.DataFrame({('a', 1): [1]})", {"a, 1": [1]}),
        ("pd.DataFrame({'a': pd.period_range('2024', periods=1, freq='M')})", {"a": ["2024-01-01T00:00:00"]}),
        ("pd.DataFrame()", {}),
        (
            "pd.DataFrame({'t': pd.to_datetime(['2024-01-02 03:04:05.000000006', None])})",
            {"t": ["2024-01-02T03:04:05.000000006", None]},
        ),
        (
            "pd.DataFrame({'d': pd.to_timedelta([1, 2], unit='ns')})",
            {"d": ["0 days 00:00:00.000000001", "0 days 00:00:00.000000002"]},
        ),
        (
            "pd.DataFrame({'l': [[1, float('nan')], {'a': (2, 'x')}, None]})",
            {"l": [[1, None], {"a": [2, "x"]}, None]},
        ),
        ("pd.DataFrame({'l': [list(range(1001))]})", {"l": [str(list(range(1001)))]}),
        ("pd.DataFrame({'a': pd.Categorical(['x', None])})", {"a": ["x", None]}),
        ("pd.DataFrame({'a': pd.to_timedelta([1, None], unit='s')})", {"a": ["0 days 00:00:01", None]}),
    ],
)
def test_other_tables(kernel, code, columns):
    need(kernel, "pandas")
    b = one(kernel, "import pandas as pd\n" + code)
    assert b["e2b/data"] == columns


def test_an_index_is_told(kernel):
    need(kernel, "pandas")
    r = kernel.run("import pandas as pd; pd.DataFrame({'a': [1, 2]}, index=pd.Index(['p', 'q'], name='k'))")
    about = r.of("execute_result")[0]["metadata"]["e2b/data"]
    assert [(c["name"], c["values"]) for c in about["index"]] == [("k", ["p", "q"])]


def test_tables_of_polars(kernel):
    need(kernel, "polars")
    code = "import polars as pl, datetime as dt\n"
    code += "pl.DataFrame({'a': [1, None], 'd': [dt.date(2024, 1, 2), None]})"
    r = kernel.run(code)
    b = r.of("execute_result")[0]
    assert b["data"]["e2b/data"] == {"a": [1, None], "d": ["2024-01-02", None]}
    assert b["metadata"]["e2b/data"]["columns"] == [
        {"name": "a", "dtype": "Int64"},
        {"name": "d", "dtype": "Date"},
    ]
    assert one(kernel, "pl.Series('s', [1.5, float('nan')])")["e2b/data"] == {"s": [1.5, None]}
    b = one(kernel, "pl.DataFrame({'l': [[1, 2], None], 's': [{'a': 1}, {'a': None}]})")
    assert b["e2b/data"] == {"l": [[1, 2], None], "s": [{"a": 1}, {"a": None}]}
    b = one(kernel, "pl.Series('t', [1_000_000_001]).cast(pl.Datetime('ns'))")
    assert b["e2b/data"] == {"t": ["1970-01-01T00:00:01.000000001"]}


LIBRARIES = {
    "plotly": (
        "import plotly.graph_objects as go",
        "go.Figure(go.Scatter(x=[1, 2], y=[3, 4], name='s'), layout={'title': {'text': 'T'}})",
        "%s.show()",
    ),
    "altair": (
        "import altair as alt, pandas as pd",
        "alt.Chart(pd.DataFrame({'x': [1, 2], 'y': [3, 4]}), title='T').mark_line().encode(x='x', y='y')",
        "%s.show()",
    ),
    "bokeh": (
        "from bokeh.plotting import figure, show\n"
        "def make():\n  f = figure(title='T'); f.line([1, 2], [3, 4], legend_label='s'); return f",
        "make()",
        "show(%s)",
    ),
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_figures_of_other_libraries(kernel_python, library):
    k = Kernel(kernel_python)
    try:
        need(k, library)
        setup, make, show = LIBRARIES[library]
        assert shown(k.run(setup)) == []
        sizes = []
        for code in (make, show % make, "display(%s)" % make):
            r = k.run(code)
            (b,) = shown(r)
            c = b["e2b/chart"]
            assert (c["type"], c["title"]) == ("line", "T")
            assert [list(map(float, p)) for p in c["elements"][0]["points"]] == [[1, 3], [2, 4]]
            assert "text/html" in b
            sizes.append(len(b["text/html"]))
        if library == "altair":  # drawn at twice the size that the page shows it at
            size = r.of("display_data")[0]["metadata"]["image/png"]
            picture = base64.b64decode(b["image/png"])
            width, height = struct.unpack(">II", picture[16:24])
            assert abs(width - 2 * size["width"]) <= 1 and abs(height - 2 * size["height"]) <= 1
            assert 100 < size["width"] < 1000 and 100 < size["height"] < 1000
        # The JavaScript comes once.
        assert sizes[0] > 500_000 and max(sizes[1:]) < 50_000, sizes
        assert json.dumps(b, allow_nan=False)
        assert b["text/html"].startswith("<!--ds-sandbox needs ")
    finally:
        k.close()


@pytest.mark.parametrize("library", LIBRARIES)
def test_javascript_comes_again_where_it_was_lost(kernel_python, library):
    k = Kernel(kernel_python)
    try:
        need(k, library)
        setup, make, _ = LIBRARIES[library]
        k.run(setup + "\nfrom IPython.utils.capture import capture_output")
        k.run("with capture_output() as seen: display(%s)" % make)
        assert len(one(k, make)["text/html"]) > 500_000
        assert len(one(k, make)["text/html"]) < 50_000
        child = (
            "import os\npid = os.fork()\nif not pid:\n"
            "    from dskernel.charts import html; os._exit(len(html._sent))\n"
            "print(os.waitpid(pid, 0)[1])"
        )
        assert k.run(child).stdout == "0\n"
    finally:
        k.close()


def test_pictures_of_plotly_come_from_one_browser_in_bounded_time(kernel_python):
    k = Kernel(kernel_python)
    try:
        need(k, "plotly", "kaleido")
        if not any(map(shutil.which, ("chromium", "chrome", "google-chrome"))):
            pytest.skip("no browser for kaleido")
        k.run("import plotly.graph_objects as go, time")
        draw = "begun = time.time(); display(go.Figure(go.Scatter(y=[1, 2]))); print(time.time() - begun)"
        assert is_png(one(k, draw))
        r = k.run(draw)
        assert is_png(shown(r)[0]) and float(r.stdout) < 2
        k.run("from dskernel.charts import kaleido; kaleido.rest()")
        assert is_png(one(k, draw))
    finally:
        k.close()


def test_a_picture_that_never_comes_is_not_waited_for(kernel_python):
    k = Kernel(kernel_python)
    try:
        need(k, "plotly")
        k.run(
            "import plotly.graph_objects as go, time, sys, types, plotly.io\n"
            "from dskernel.charts import kaleido\n"
            "kaleido.FIRST = 0.5\nkaleido._state['can'] = True\n"
            "sys.modules['kaleido'] = types.ModuleType('kaleido')\n"
            "plotly.io.to_image = lambda *a, **k: time.sleep(60)"
        )
        r = k.run("begun = time.time(); display(go.Figure(go.Scatter(y=[1]))); print(time.time() - begun)")
        (b,) = shown(r)
        assert "image/png" not in b and "text/html" in b and 0.4 < float(r.stdout) < 5
    finally:
        k.close()


FONT = """
import os, sys
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
pen = TTGlyphPen(None)
for n, p in enumerate([(0, 0), (0, 700), (700, 700), (700, 0)]):
    (pen.lineTo if n else pen.moveTo)(p)
pen.closePath()
glyph = pen.glyph()
f = FontBuilder(1000, isTTF=True)
f.setupGlyphOrder([".notdef", "one"])
f.setupCharacterMap({0x6807: "one", 0x984C: "one"})
f.setupGlyf({".notdef": glyph, "one": glyph})
f.setupHorizontalMetrics({".notdef": (800, 0), "one": (800, 0)})
f.setupHorizontalHeader(ascent=800, descent=-200)
f.setupNameTable({"familyName": "Noto Sans CJK SC", "styleName": "Regular"})
f.setupOS2(); f.setupPost()
f.save("cjk.ttf")
from matplotlib import font_manager
font_manager.fontManager.addfont("cjk.ttf")
"""


def test_chinese_takes_the_font_that_has_it(kernel_python):
    k = Kernel(kernel_python)
    try:
        need(k, "matplotlib", "fontTools")
        assert k.run(FONT).reply["status"] == "ok"
        r = k.run("import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.title('Loss \u6807\u984c');")
        assert is_png(shown(r)[0]) and r.texts("stderr") == []
        assert k.run("list(plt.rcParams['font.family'])").result == "['sans-serif', 'Noto Sans CJK SC']"
    finally:
        k.close()
