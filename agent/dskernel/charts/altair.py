"""Charts of altair as data, and how a kernel shows them.

Altair's charts are specifications that JavaScript draws. What that would compute is unknown here, but for
plain values, sorting, and the usual sums of a group (count, sum, mean, median, min, max).
"""

from __future__ import annotations

import base64
import json
import statistics
import struct
import sys
import uuid

from dskernel.charts import html, shape
from dskernel.charts.stats import box
from dskernel.guard import quietly

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
    return html.page(
        "vega", near, lambda: html.inline(vl_convert.javascript_bundle(vl_version=near)), body
    )


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
    parts = next((spec[k] for k in ("hconcat", "vconcat", "concat") if k in spec), None)
    datasets = spec.get("datasets") or {}
    if parts is None:
        return _one(spec, spec, datasets, shape.Budget())
    budget = shape.Budget(len(parts))
    charts = [_one(p, spec, datasets, budget) for p in parts[: shape.SERIES]]
    return shape.superchart(_title(spec.get("title")), charts)


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
    return make(_Rows(rows, encoding), budget, _mark(spec)) if make and isinstance(rows, list) else None


def _mark(spec: dict) -> str:
    mark = spec.get("mark")
    return str(mark.get("type")) if isinstance(mark, dict) else str(mark)


_AGGREGATES = {
    "count": len,
    "sum": sum,
    "mean": statistics.fmean,
    "average": statistics.fmean,
    "median": statistics.median,
    "min": min,
    "max": max,
}


class _Rows:
    """Rows of data, and the channels that draw them."""

    def __init__(self, rows: list, encoding: dict) -> None:
        self.rows = rows
        self.encoding = encoding
        for channel in encoding.values():
            if isinstance(channel, dict) and (channel.get("bin") or channel.get("timeUnit")):
                raise ValueError("computed where it is drawn")

    def channel(self, name: str) -> dict:
        return self.encoding.get(name) or {}

    def field(self, name: str):
        return self.channel(name).get("field")

    def label(self, name: str):
        channel = self.channel(name)
        title = channel.get("title", (channel.get("axis") or {}).get("title"))
        if title is not None:
            return title
        how = channel.get("aggregate")
        if how == "count":
            return "Count of Records"
        return "%s of %s" % (str(how).capitalize(), channel.get("field")) if how else channel.get("field")

    def group(self):
        return next(
            (self.field(c) for c in ("color", "detail", "shape", "strokeDash") if self.field(c)), None
        )

    def split(self) -> dict:
        """Returns the rows by their colour."""
        by, groups = self.group(), {}
        for row in self.rows:
            groups.setdefault(str(row.get(by)) if by else "", []).append(row)
        return groups

    def values(self, rows: list, name: str) -> list:
        field = self.field(name)
        return [row.get(field) for row in rows]

    def reduced(self, rows: list, at: str, value: str) -> tuple[list, list]:
        """Returns both channels, with an aggregate of the value for each place."""
        how = self.channel(value).get("aggregate")
        if how is None:
            return self.values(rows, at), self.values(rows, value)
        reduce = _AGGREGATES[how]
        groups: dict = {}
        for row in rows:
            groups.setdefault(row.get(self.field(at)), []).append(row.get(self.field(value)))
        if how != "count":
            groups = {k: [v for v in vs if v is not None] for k, vs in groups.items()}
        return list(groups), [reduce(vs) if vs else None for vs in groups.values()]

    def rule(self, name: str, values: list) -> dict:
        channel = self.channel(name)
        kind = {"temporal": "datetime", "nominal": "categorical", "ordinal": "categorical"}.get(
            channel.get("type")
        )
        scale = (channel.get("scale") or {}).get("type")
        return shape.scale(scale if scale in shape.SCALES else kind, values)

    def axes(self) -> dict:
        return shape.axes(self.label("x"), self.label("y"))


def _points(data: _Rows, budget, mark: str) -> dict:
    groups = data.split()
    kind = "line" if mark in ("line", "trail") else "scatter"
    most = budget.each(len(groups))
    elements = []
    for n, (label, rows) in enumerate(list(groups.items())[: shape.SERIES]):
        at = "y" if data.channel("x").get("aggregate") else "x"
        pairs = data.reduced(rows, at, "x" if at == "y" else "y")
        x, y = pairs if at == "x" else pairs[::-1]
        if kind == "line" and not data.field("order") and x and data.channel("x").get("sort", 0) is not None:
            order = sorted(range(len(x)), key=lambda i: (x[i] is None, x[i]))
            x, y = [x[i] for i in order], [y[i] for i in order]
        elements.append(shape.series(label or "Line %d" % n, x, y, most, kind))
    first = elements[0]["points"] if elements else []
    x, y = data.rule("x", [p[0] for p in first]), data.rule("y", [p[1] for p in first])
    return {"type": kind, **data.axes(), **shape.ruled(x, y), "elements": elements}


def _bars(data: _Rows, budget, mark: str) -> dict:
    lying = bool(data.channel("x").get("aggregate")) or (
        data.channel("x").get("type") == "quantitative" and data.channel("y").get("type") != "quantitative"
    )
    at, value = ("y", "x") if lying else ("x", "y")
    elements = []
    for group, rows in data.split().items():
        places, values = data.reduced(rows, at, value)
        for label, v in zip(shape.column(places), shape.column(values)):
            elements.append({"label": str(label), "group": group or "Group 0", "value": v})
    members = data.axes()
    return {"type": "bar", **(shape.swapped(members) if lying else members), "elements": elements}


def _pie(data: _Rows, budget, mark: str) -> dict:
    labels, values = data.reduced(data.rows, "color", "theta")
    values = [v or 0 for v in values]
    total = sum(values) or 1
    return {
        "type": "pie",
        "elements": [
            {"label": str(label), "angle": float("%.8g" % (360 * v / total)), "radius": 1.0}
            for label, v in zip(labels, values)
        ],
    }


def _boxes(data: _Rows, budget, mark: str) -> dict:
    lying = (
        data.channel("x").get("type") == "quantitative" and data.channel("y").get("type") != "quantitative"
    )
    at, value = ("y", "x") if lying else ("x", "y")
    groups: dict = {}
    for row in data.rows:
        groups.setdefault(row.get(data.field(at)), []).append(row.get(data.field(value)))
    elements = [{"label": "" if k is None else str(k), **box(v)} for k, v in groups.items()]
    x, y = data.rule("x", data.values(data.rows[:10], "x")), data.rule("y", data.values(data.rows[:10], "y"))
    labels = data.axes()
    members = {**(shape.swapped(labels) if lying else labels), **shape.ruled(x, y)}
    return {"type": "box_and_whisker", **members, "elements": elements}


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
