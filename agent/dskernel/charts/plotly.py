"""Figures of plotly as data, and how a kernel shows them."""

from __future__ import annotations

import binascii
import math
import os
import sys

from dskernel.charts import histogram, html, kaleido, shape, stats
from dskernel.guard import quietly
from dskernel.values import scalar

NAME = "ds_sandbox"


def connect(_shell) -> None:
    """Makes plotly show its figures by ``bundle``, unless the user's environment names another renderer."""
    from plotly.io._base_renderers import ExternalRenderer

    renderers = sys.modules["plotly.io._renderers"].renderers

    class SandboxRenderer(ExternalRenderer):
        """Shows a figure as data, as HTML and, where kaleido is, as a picture."""

        # Not one of its renderers for notebooks: for those plotly wants the package nbformat.
        def render(self, fig_dict) -> None:
            from IPython.display import display

            display(bundle(fig_dict), raw=True)

    renderers[NAME] = SandboxRenderer()
    if not os.environ.get("PLOTLY_RENDERER"):
        renderers.default = NAME


def bundle(figure: dict) -> dict:
    """Returns all forms of a figure."""
    import plotly.io

    made = {}
    stock = quietly(lambda: plotly.io.renderers["plotly_mimetype"].to_mimebundle(figure))
    made.update(stock or {})
    body = quietly(
        lambda: plotly.io.to_html(
            figure, include_plotlyjs=False, full_html=False, validate=False, auto_play=False
        )
    )
    version = sys.modules["plotly"].__version__
    page = quietly(html.page, "plotly", version, _script, body) if body else None
    if page:
        made["text/html"] = page
    made["text/plain"] = "Figure(%s)" % ", ".join(_kind(t) for t in (figure.get("data") or [])[:20])
    picture = quietly(kaleido.picture, figure)
    if picture:
        made["image/png"] = picture
    data = quietly(chart, figure)
    if data:
        made["e2b/chart"] = data
    return made


def _script() -> str:
    from plotly.offline import get_plotlyjs

    return html.inline(get_plotlyjs())


def chart(figure: dict):
    """Returns what a figure, as plotly's dict, shows; None for one without data."""
    traces = [t for t in figure.get("data") or [] if t.get("visible", True) is True]
    # Arrays come as base64: a million numbers take a while, and are wanted more than once.
    traces = [{**t, **{k: array(t[k]) for k in ("x", "y") if t.get(k) is not None}} for t in traces]
    if not traces:
        return None
    layout = figure.get("layout") or {}
    panels: dict = {}
    for n, trace in enumerate(traces):
        panels.setdefault(_place(trace, n), []).append(trace)
    title = _text(layout.get("title"))
    budget = shape.Budget(len(panels))
    charts = [quietly(_panel, p, layout, budget) or shape.unknown() for p in panels.values()]
    if len(charts) > 1:
        return shape.superchart(title, charts)
    charts[0]["title"] = shape.words(title)
    return charts[0]


def _place(trace: dict, n: int):
    """Returns what is the same for traces that are drawn over each other."""
    if _kind(trace) in ("pie", "sunburst", "indicator", "table", "treemap"):
        return n
    return trace.get("xaxis") or "x", trace.get("yaxis") or "y", trace.get("scene")


def _kind(trace: dict) -> str:
    return str(trace.get("type") or "scatter")


def _text(value):
    return value.get("text") if isinstance(value, dict) else value


def _panel(traces: list, layout: dict, budget) -> dict:
    kinds = {_kind(t).replace("scattergl", "scatter") for t in traces}
    make = {"scatter": _points, "bar": _bars, "pie": _pie, "box": _boxes, "histogram": _histogram}.get(
        kinds.pop()
    )
    if kinds or make is None:
        return shape.unknown()
    return shape.finish({"title": None, **make(traces, layout, budget)})


def _axis(traces: list, layout: dict, which: str) -> dict:
    name = str(traces[0].get(which + "axis") or which)
    return layout.get(which + "axis" + name[1:]) or {}


def _labels(traces: list, layout: dict) -> tuple[dict, dict, dict]:
    x, y = _axis(traces, layout, "x"), _axis(traces, layout, "y")
    return x, y, shape.axes(_text(x.get("title")), _text(y.get("title")))


def _ruled(traces: list, layout: dict) -> dict:
    x, y, members = _labels(traces, layout)
    return {**members, **shape.ruled(_rule(x, traces, "x"), _rule(y, traces, "y"))}


def _rule(axis: dict, traces: list, which: str) -> dict:
    kind = {"date": "datetime", "category": "categorical", "multicategory": "categorical"}.get(
        axis.get("type"), axis.get("type")
    )
    if kind == "-":
        kind = None
    first = next((v for t in traces for v in [array(t.get(which))] if len(v)), [])
    made = shape.scale(kind, shape.column(first[:10]))
    if axis.get("tickvals") is not None:
        made["ticks"] = shape.column(array(axis["tickvals"])[:1000])
        made["tick_labels"] = [str(t) for t in array(axis.get("ticktext", made["ticks"]))[:1000]]
    return made


def array(value):
    """Returns plotly's array: a list, an array, or bytes in base64 with their type."""
    if value is None:
        return []
    if isinstance(value, dict) and "bdata" in value:
        import numpy

        data = numpy.frombuffer(binascii.a2b_base64(value["bdata"]), dtype=numpy.dtype(value["dtype"]))
        if value.get("shape") is not None:
            data = data.reshape([int(n) for n in str(value["shape"]).split(",")])
        return data
    if hasattr(value, "to_numpy"):
        return value.to_numpy()
    return value if hasattr(value, "__getitem__") and not isinstance(value, (str, dict)) else list(value)


def flat(values):
    """Returns labels of several levels, which come as a list for each level, as one text each."""
    if not 0 < len(values) <= 8 or not all(
        isinstance(v, (list, tuple, dict)) or getattr(v, "ndim", 0) == 1 for v in values
    ):
        return values
    levels = [array(v) for v in values]
    if max(map(len, levels)) > 100_000:
        raise ValueError("more labels than are worth it")
    return [", ".join(_label(v) for v in row) for row in zip(*map(shape.column, levels))]


def _pair(trace: dict) -> tuple:
    x, y = flat(array(trace.get("x"))), flat(array(trace.get("y")))
    if not len(x):
        x = range(len(y))
    elif not len(y):
        y = range(len(x))
    return x, y


def _points(traces: list, layout: dict, budget) -> dict:
    modes = [t.get("mode") or ("lines+markers" if len(array(t.get("y"))) < 20 else "lines") for t in traces]
    kind = "line" if any("lines" in m for m in modes) else "scatter"
    if any(t.get("stackgroup") for t in traces):
        return shape.unknown()
    most = budget.each(len(traces))
    elements = [
        shape.series(_name(t, n, "Line" if kind == "line" else "Group"), *_pair(t), most, kind)
        for n, t in enumerate(traces[: shape.SERIES])
    ]
    return shape.counted({"type": kind, **_ruled(traces, layout), "elements": elements}, len(traces))


def _bars(traces: list, layout: dict, budget) -> dict:
    _, _, members = _labels(traces, layout)
    elements, count = [], 0
    lying = any(t.get("orientation") == "h" for t in traces)
    for n, trace in enumerate(traces):
        x, y = _pair(trace)
        if trace.get("orientation") == "h":
            x, y = y, x
        count += min(len(x), len(y))
        room = shape.SERIES - len(elements)
        for label, value in zip(shape.column(x[:room]), shape.column(y[:room])):
            elements.append({"label": _label(label), "group": _name(trace, n, "Group"), "value": value})
    if lying:
        members = shape.swapped(members)
    return shape.counted({"type": "bar", **members, "elements": elements}, count)


def _pie(traces: list, layout: dict, budget) -> dict:
    trace = traces[0]
    values, labels = array(trace.get("values")), array(trace.get("labels"))
    names, sums = stats.sums(labels if len(labels) else range(len(values)), values)
    total = math.fsum(sums) or 1
    elements = [
        {"label": _label(scalar(k)), "angle": float("%.8g" % (360 * v / total)), "radius": 1.0}
        for k, v in zip(names[: shape.SERIES], sums)
    ]
    made = {"type": "pie", "title": shape.words(_text(trace.get("title"))), "elements": elements}
    return shape.counted(made, len(names))


def _boxes(traces: list, layout: dict, budget) -> dict:
    lying = any(t.get("orientation") == "h" for t in traces)
    elements, count = [], 0
    for n, trace in enumerate(traces):
        budget.check()
        at, values = ("y", "x") if lying else ("x", "y")
        if trace.get("q1") is not None:
            elements.extend(_ready(trace, at))
            continue
        data = array(trace.get(values))
        places = flat(array(trace.get(at)))
        if len(places) and len(places) == len(data):
            groups = stats.groups(places, data)
        else:
            groups = [(_name(trace, n, "Box"), data)]
        several = len(traces) > 1 and trace.get("name")
        count += len(groups)
        for place, group in groups[: shape.SERIES - len(elements)]:
            label = _label(scalar(place))
            if several and label.strip() and label != trace["name"]:
                label = "%s, %s" % (label, trace["name"])
            elements.append({"label": label.strip() or _name(trace, n, "Box"), **stats.box(group)})
    members = _ruled(traces, layout)
    if lying:
        members.update(shape.swapped({k: v for k, v in members.items() if k[2:] in ("label", "unit")}))
    return shape.counted({"type": "box_and_whisker", **members, "elements": elements}, count)


def _histogram(traces: list, layout: dict, budget) -> dict:
    """Bars of values that are counted, or summed, in bins as plotly's JavaScript makes them."""
    _, _, members = _labels(traces, layout)
    lying = traces[0].get("x") is None or traces[0].get("orientation") == "h"
    at = "y" if lying else "x"
    if _axis(traces, layout, at).get("type") in ("log", "date") or any(_is_odd(t) for t in traces):
        return shape.unknown()
    elements, count = [], 0
    for (trace, bars), n in zip(histogram.bars(traces, at, array), range(len(traces))):
        count += len(bars)
        for label, value in bars[: shape.SERIES - len(elements)]:
            elements.append({"label": label, "group": _name(trace, n, "Group"), "value": value})
    if lying:
        members = shape.swapped(members)
    return shape.counted({"type": "bar", **members, "elements": elements}, count)


def _is_odd(trace: dict) -> bool:
    """Reports whether a histogram shows more than numbers of values, or their sums, or shares of all."""
    return bool(
        (trace.get("cumulative") or {}).get("enabled")
        or trace.get("histnorm") not in (None, "", "percent", "probability")
    )


def _ready(trace: dict, at: str) -> list[dict]:
    names = {
        "min": "lowerfence",
        "first_quartile": "q1",
        "median": "median",
        "third_quartile": "q3",
        "max": "upperfence",
    }
    columns = {k: shape.column(array(trace.get(v))) for k, v in names.items()}
    labels = [_label(v) for v in shape.column(array(trace.get(at)))]
    out = []
    for n in range(len(columns["median"])):
        values = {k: c[n] if n < len(c) else None for k, c in columns.items()}
        out.append({"label": labels[n] if n < len(labels) else "Box %d" % n, **values, "outliers": []})
    return out


def _name(trace: dict, n: int, kind: str = "Line") -> str:
    return str(trace.get("name") or "%s %d" % (kind, n))


def _label(value) -> str:
    return "" if value is None else "%g" % value if isinstance(value, float) else str(value)
