"""Figures of bokeh as data, and how a kernel shows them."""

from __future__ import annotations

import math
import sys

from dskernel.charts import bokeh_boxes, html, shape
from dskernel.charts.bokeh_values import label, values
from dskernel.guard import quietly


def connect(_shell) -> None:
    """Makes ``show`` show in the kernel's output, by ``bundle``, with or without output_notebook."""
    notebook = sys.modules["bokeh.io.notebook"]
    notebook.install_notebook_hook("jupyter", _load, _show, notebook.show_app, overwrite=True)
    from bokeh.io.state import curstate

    curstate().output_notebook("jupyter")


def _load(*_args, **_options) -> None:
    """The JavaScript comes with the first figure."""


def _show(figure, state, handle=None) -> None:
    from IPython.display import display

    made = bundle(figure)
    if made:
        display(made, raw=True)


def bundle(figure):
    """Returns all forms of a figure or a layout of them."""
    made = {"text/plain": repr(figure)}
    page = quietly(_page, figure)
    if page:
        made["text/html"] = page
    data = quietly(chart, figure)
    if data:
        made["e2b/chart"] = data
    return made


def _page(figure) -> str:
    from bokeh.embed import components
    from bokeh.resources import INLINE

    script, div = components(figure)
    return html.page("bokeh", sys.modules["bokeh"].__version__, INLINE.render, div + script)


def chart(figure):
    """Returns what a figure or a layout of figures shows."""
    from bokeh.models import Plot

    if isinstance(figure, Plot):
        return _plot(figure, shape.Budget()) if figure.renderers else None
    plots = list(_plots(figure)) or list(figure.select({"type": Plot}))
    if not plots:
        return None
    budget = shape.Budget(len(plots))
    if len(plots) == 1:
        return _plot(plots[0], budget)
    return shape.superchart(None, [_plot(p, budget) for p in plots[: shape.SERIES]])


def _plots(part):
    """Yields the plots of a layout in their order; select has none."""
    from bokeh.models import Plot

    if isinstance(part, Plot):
        yield part
        return
    children = getattr(part, "children", None) or [tab.child for tab in getattr(part, "tabs", ())]
    for child in children:
        yield from _plots(child[0] if isinstance(child, tuple) else child)


def _plot(plot, budget) -> dict:
    title = getattr(plot.title, "text", plot.title)
    title = title if isinstance(title, str) else None
    made = quietly(_known, plot, budget)
    if made is None:
        return shape.unknown(title)
    return shape.finish({"type": made.pop("type"), "title": shape.words(title), **made})


def _known(plot, budget):
    drawn = [r for r in plot.renderers if getattr(r, "glyph", None) is not None and r.visible]
    kinds = [_KINDS.get(type(r.glyph).__name__) for r in drawn]
    if "bar" in kinds:
        boxes = bokeh_boxes.boxes(plot, drawn)
        if boxes is not None:
            lying, elements = boxes
            labels, members = _labels(plot), _ruled(plot, [], [])
            members.update(shape.swapped(labels) if lying else labels)
            return {"type": "box_and_whisker", **members, "elements": elements}
    if None in kinds or "segment" in kinds:
        return None
    first = kinds[0]
    if "line" in kinds and set(kinds) <= {"line", "scatter"}:  # lines with their points
        first = "line"
        drawn = [r for r, kind in zip(drawn, kinds) if kind == "line"]
    elif len(set(kinds)) > 1:
        return None
    return _MAKE[first](plot, drawn, budget)


def _names(plot) -> dict:
    """Returns what the legend calls each renderer."""
    return {
        r.id: getattr(item.label, "value", None)
        for legend in plot.legend
        for item in legend.items
        for r in item.renderers
    }


def _labels(plot) -> dict:
    x, y = (next((a.axis_label for a in axes), None) for axes in (plot.xaxis, plot.yaxis))
    return shape.axes(x, y)


def _rule(axes, scale, values) -> dict:
    axis = next(iter(axes), None)
    kind = type(axis).__name__
    if kind.startswith("Datetime"):
        name = "datetime"
    elif kind.startswith("Categorical"):
        name = "categorical"
    else:
        name = "log" if type(scale).__name__ == "LogScale" else None
    return shape.scale(name, values)


def _ruled(plot, x, y) -> dict:
    return shape.ruled(_rule(plot.xaxis, plot.x_scale, x), _rule(plot.yaxis, plot.y_scale, y))


def _points(plot, drawn, budget, kind="line") -> dict:
    names = _names(plot)
    most = budget.each(len(drawn))
    dated = [type(next(iter(a), None)).__name__.startswith("Datetime") for a in (plot.xaxis, plot.yaxis)]
    as_x, as_y = (_dates if d else shape.column for d in dated)
    elements = []
    for n, r in enumerate(drawn[: shape.SERIES]):
        name = names.get(r.id) or r.name or "%s %d" % ("Line" if kind == "line" else "Group", n)
        elements.append(shape.series(name, values(r, "x"), values(r, "y"), most, kind, as_x, as_y))
    first = elements[0]["points"] if elements else []
    ruled = _ruled(plot, [p[0] for p in first[:10]], [p[1] for p in first[:10]])
    return shape.counted({"type": kind, **_labels(plot), **ruled, "elements": elements}, len(drawn))


def _scatter(plot, drawn, budget) -> dict:
    return _points(plot, drawn, budget, "scatter")


def _dates(values) -> list:
    """Writes dates; bokeh has numbers for them, in milliseconds."""
    from datetime import datetime, timedelta

    def iso(value):
        if isinstance(value, (int, float)):
            return (datetime(1970, 1, 1) + timedelta(milliseconds=value)).isoformat()
        return value

    return [v if v is None else quietly(iso, v) for v in shape.column(values)]


def _bars(plot, drawn, budget) -> dict:
    names, members, elements, count = _names(plot), _labels(plot), [], 0
    lying = type(drawn[0].glyph).__name__ == "HBar"
    at, value, base = ("y", "right", "left") if lying else ("x", "top", "bottom")
    for n, r in enumerate(drawn):
        group = names.get(r.id) or r.name or "Group %d" % n
        places, ends, bases = (values(r, name) for name in (at, value, base))
        count += min(len(places), len(ends))
        room = shape.SERIES - len(elements)
        ends, bases = shape.column(ends[:room]), shape.column(bases[:room])
        for i, (place, end) in enumerate(zip(places[:room], ends)):
            start = bases[i] if i < len(bases) and isinstance(bases[i], (int, float)) else 0
            length = end - start if isinstance(end, (int, float)) and start else end
            elements.append({"label": label(place), "group": group, "value": length})
    members = shape.swapped(members) if lying else members
    return shape.counted({"type": "bar", **members, "elements": elements}, count)


def _quads(plot, drawn, budget) -> dict:
    """Bars of a histogram."""
    names, elements, count = _names(plot), [], 0
    for n, r in enumerate(drawn):
        group = names.get(r.id) or r.name or "Group %d" % n
        columns = [values(r, name) for name in ("left", "right", "top")]
        count += min(map(len, columns))
        room = shape.SERIES - len(elements)
        for left, right, top in zip(*(shape.column(c[:room]) for c in columns)):
            elements.append({"label": "%.6g" % ((left + right) / 2), "group": group, "value": top})
    return shape.counted({"type": "bar", **_labels(plot), "elements": elements}, count)


def _pie(plot, drawn, budget) -> dict:
    elements, count = [], 0
    for r in drawn:
        radius = "radius" if hasattr(r.glyph, "radius") else "outer_radius"
        labels = _legend(plot, r)
        starts, ends = _angles(r, "start_angle"), _angles(r, "end_angle")
        count += min(len(starts), len(ends))
        room = shape.SERIES - len(elements)
        radii = shape.column(values(r, radius)[:room])
        for n, (start, end, r_) in enumerate(
            zip(shape.column(starts[:room]), shape.column(ends[:room]), radii)
        ):
            name = str(labels[n]) if labels is not None and n < len(labels) else str(n)
            elements.append(
                {"label": name, "angle": float("%.8g" % math.degrees(abs(end - start))), "radius": r_}
            )
    return shape.counted({"type": "pie", "elements": elements}, count)


def _legend(plot, renderer):
    """Returns the column that a legend names the parts of a renderer by."""
    for legend in plot.legend:
        for item in legend.items:
            field = getattr(item.label, "field", None)
            if field and renderer in item.renderers:
                return shape.column(renderer.data_source.data[field][: shape.SERIES])
    return None


def _angles(renderer, name: str):
    """Returns angles in radians; those of cumsum are computed here as they are there."""
    expression = getattr(getattr(renderer.glyph, name), "expr", None)
    if expression is None or not hasattr(expression, "include_zero"):
        return values(renderer, name)
    total, sums = 0.0, []
    for v in shape.column(renderer.data_source.data[expression.field]):
        sums.append(total)
        total += v or 0.0
    return sums if expression.include_zero else [*sums[1:], total]


_KINDS = {
    "Line": "line",
    "Step": "line",
    "Scatter": "scatter",
    "Circle": "scatter",
    "VBar": "bar",
    "HBar": "bar",
    "Segment": "segment",  # of boxes only
    "Rect": "segment",
    "Quad": "quad",
    "Wedge": "pie",
    "AnnularWedge": "pie",
}
_MAKE = {"line": _points, "scatter": _scatter, "bar": _bars, "quad": _quads, "pie": _pie}
