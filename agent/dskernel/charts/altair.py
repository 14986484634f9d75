"""Charts of altair as data, and how a kernel shows them.

Altair's charts are specifications that JavaScript draws. What that would compute is unknown here, but for
plain values, sorting, the usual sums of a group (count, sum, mean, median, min, max), bins of numbers, and
units of time.
"""

from __future__ import annotations

import base64
import json
import struct
import sys
import uuid

from dskernel.charts import html, shape, stats
from dskernel.charts.altair_rows import Rows
from dskernel.guard import quietly
from dskernel.values import scalar

NAME = "ds_sandbox"
SCALE = 2  # pixels of the picture to one of the page


def connect(_shell) -> None:
    """Makes altair show its charts by ``bundle``; the user may enable another renderer."""
    renderers = sys.modules["altair"].renderers
    renderers.register(NAME, bundle)
    if renderers.active == "default":
        renderers.enable(NAME)


def bundle(spec: dict, **_options) -> tuple[dict, dict]:
    """Returns all forms of a chart, and the picture's size."""
    version = sys.modules["altair"].SCHEMA_VERSION.lstrip("v")
    made = {
        "application/vnd.vegalite.v%s+json" % version.split(".")[0]: spec,
        "text/plain": "alt.Chart(...)",
    }
    page = quietly(_page, spec, version)
    if page is None:  # without vl-convert the JavaScript is not here, only in the net
        page = (quietly(_stock, spec) or {}).get("text/html")
    if page:
        made["text/html"] = page
    about = {}
    picture = quietly(_picture, spec, version)
    if picture:
        made["image/png"] = base64.b64encode(picture).decode()
        width, height = struct.unpack(">II", picture[16:24])
        about["image/png"] = {"width": width // SCALE, "height": height // SCALE}
    data = quietly(chart, spec)
    if data:
        made["e2b/chart"] = data
    return made, about


def _stock(spec: dict) -> dict:
    return sys.modules["altair"].renderers._plugins["html"](spec)


def _page(spec: dict, version: str) -> str:
    import vl_convert

    name = "vega-" + uuid.uuid4().hex
    body = (
        '<div id="%s"></div><script>(window.vegaEmbed ? Promise.resolve() : Promise.reject('
        '"the JavaScript of Vega comes with the first chart of a session"'
        ')).then(function(){return vegaEmbed("#%s", %s, {"actions": false})})'
        '.catch(function(e){document.getElementById("%s").textContent = e})</script>'
    ) % (name, name, json.dumps(spec).replace("</", "<\\/"), name)
    near = _near(version)
    return html.page("vega", near, lambda: html.inline(vl_convert.javascript_bundle(vl_version=near)), body)


def _near(version: str) -> str:
    """Returns the version of Vega-Lite that vl-convert knows a chart by: major and minor."""
    return ".".join(version.split(".")[:2])


def _picture(spec: dict, version: str):
    """Draws a chart whose data is all there; what it would fetch could take for ever."""
    if '"url":' in json.dumps(spec):
        return None
    import vl_convert

    return vl_convert.vegalite_to_png(spec, vl_version=_near(version), scale=SCALE)


def chart(spec: dict):
    """Returns what a specification shows."""
    parts = list(_parts(spec, spec))
    budget = shape.Budget(len(parts))
    datasets = spec.get("datasets") or {}
    if not any(k in spec for k in _CONCAT):
        return _one(spec, spec, datasets, budget)
    charts = [_one(part, around, datasets, budget) for part, around in parts[: shape.SERIES]]
    return shape.counted(shape.superchart(_title(spec.get("title")), charts), len(parts))


_CONCAT = ("hconcat", "vconcat", "concat")


def _parts(spec: dict, around: dict):
    """Yields the charts of a figure, those of rows in columns too, and where each finds its data."""
    around = spec if spec.get("data") else around
    inner = next((spec[k] for k in _CONCAT if k in spec), None)
    if inner is None:
        yield spec, around
    for part in inner or ():
        yield from _parts(part, around)


def _title(value):
    title = value.get("text") if isinstance(value, dict) else value
    return " ".join(map(str, title)) if isinstance(title, list) else title


def _one(spec: dict, around: dict, datasets: dict, budget) -> dict:
    title = _title(spec.get("title"))
    made = quietly(_known, spec, around, datasets, budget)
    if made is None:
        return shape.unknown(title)
    return shape.finish({"type": made.pop("type"), "title": shape.words(title), **made})


def _known(spec: dict, around: dict, datasets: dict, budget):
    layers = spec.get("layer")
    if layers:
        # Lines with their points, values above bars, rules: what the first of them shows.
        marks = [_mark(part) for part in layers]
        first = next(n for n, m in enumerate(marks) if m in _KINDS)
        if any(m in _KINDS and _KINDS[m] is not _KINDS[marks[first]] for m in marks[first:]):
            return None
        inner = layers[first]
        spec = {
            **spec,
            **inner,
            "encoding": {**(spec.get("encoding") or {}), **(inner.get("encoding") or {})},
        }
    encoding = spec.get("encoding") or {}
    if spec.get("transform") or any(c in encoding for c in ("row", "column", "facet")):
        return None
    data = spec.get("data") or around.get("data") or {}
    rows = data.get("values") if "values" in data else datasets.get(data.get("name"))
    make = _KINDS.get(_mark(spec))
    return (
        make(Rows(rows, encoding, budget), budget, _mark(spec)) if make and isinstance(rows, list) else None
    )


def _mark(spec: dict) -> str:
    mark = spec.get("mark")
    return str(mark.get("type")) if isinstance(mark, dict) else str(mark)


def _points(data: Rows, budget, mark: str) -> dict:
    kind = "line" if mark in ("line", "trail") else "scatter"
    groups = data.split()
    most = budget.each(len(groups))
    elements = []
    for n, (label, part) in enumerate(groups[: shape.SERIES]):
        budget.check()
        at = "y" if data.channel("x").get("aggregate") else "x"
        pairs = data.reduced(part, at, "x" if at == "y" else "y")
        x, y = pairs if at == "x" else pairs[::-1]
        if kind == "line" and not data.field("order") and data.channel("x").get("sort", 0) is not None:
            x, y = _sorted(x, y)
        name = label or "%s %d" % ("Line" if kind == "line" else "Group", n)
        elements.append(shape.series(name, x, y, most, kind))
    first = elements[0]["points"] if elements else []
    x, y = data.rule("x", [p[0] for p in first]), data.rule("y", [p[1] for p in first])
    made = {"type": kind, **data.axes(), **shape.ruled(x, y), "elements": elements}
    return shape.counted(made, len(groups))


def _sorted(x, y):
    """Sorts points by their x, as lines are drawn."""
    if hasattr(x, "dtype") and x.dtype.kind in "iuf":
        import numpy

        if (x[1:] >= x[:-1]).all():
            return x, y
        order = numpy.argsort(x, kind="stable")
        return x[order], stats.as_array(y)[order]
    order = sorted(range(len(x)), key=lambda i: (x[i] is None, x[i]))
    return [x[i] for i in order], [y[i] for i in order]


def _lies(data: Rows) -> bool:
    def measured(name: str) -> bool:
        channel = data.channel(name)
        return bool(channel.get("aggregate")) or (
            channel.get("type") == "quantitative" and not channel.get("bin") and not channel.get("timeUnit")
        )

    return measured("x") and not measured("y")


def _bars(data: Rows, budget, mark: str) -> dict:
    lying = _lies(data)
    at, value = ("y", "x") if lying else ("x", "y")
    elements, count = [], 0
    for group, part in data.split():
        budget.check()
        places, values = data.reduced(part, at, value)
        count += len(places)
        room = shape.SERIES - len(elements)
        for label, v in zip(shape.column(places[:room]), shape.column(values[:room])):
            elements.append({"label": str(label), "group": group or "Group 0", "value": v})
    members = data.axes()
    made = {"type": "bar", **(shape.swapped(members) if lying else members), "elements": elements}
    return shape.counted(made, count)


def _pie(data: Rows, budget, mark: str) -> dict:
    labels, values = data.reduced(None, "color", "theta")
    values = [v or 0 for v in shape.column(values)]
    total = sum(values) or 1
    elements = [
        {"label": str(label), "angle": float("%.8g" % (360 * v / total)), "radius": 1.0}
        for label, v in zip(shape.column(labels[: shape.SERIES]), values)
    ]
    return shape.counted({"type": "pie", "elements": elements}, len(values))


def _boxes(data: Rows, budget, mark: str) -> dict:
    lying = _lies(data)
    at, value = ("y", "x") if lying else ("x", "y")
    elements, count = [], 0
    several = data.group() not in (None, data.field(at))
    for name, part in data.split() if several else [("", None)]:
        values = data.values(part, value)
        field = data.field(at)
        groups = stats.groups(data.values(part, at), values) if field else [(None, values)]
        count += len(groups)
        for place, numbers in groups[: shape.SERIES - len(elements)]:
            budget.check()
            label = "" if place is None else str(scalar(place))
            label = "%s, %s" % (label, name) if label and name else label or name
            elements.append({"label": label, **stats.box(numbers)})
    x, y = data.rule("x", data.values(None, "x")[:10]), data.rule("y", data.values(None, "y")[:10])
    labels = data.axes()
    members = {**(shape.swapped(labels) if lying else labels), **shape.ruled(x, y)}
    return shape.counted({"type": "box_and_whisker", **members, "elements": elements}, count)


_KINDS = {
    "line": _points,
    "trail": _points,
    "point": _points,
    "circle": _points,
    "square": _points,
    "bar": _bars,
    "arc": _pie,
    "boxplot": _boxes,
}
