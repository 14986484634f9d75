"""Figures of matplotlib, and of all that draws with it (pandas, seaborn), as data."""

from __future__ import annotations

import sys
import warnings

from dskernel.charts import artists, fonts, shape
from dskernel.charts.axis import Axis
from dskernel.charts.legend import Names
from dskernel.guard import quietly


def connect(shell) -> None:
    """Adds a font, and lets pyplot's backend know the shell, if it was imported before there was one."""
    quietly(fonts.add_fallback)
    inline = sys.modules.get("matplotlib_inline.backend_inline")
    if inline is not None:
        inline._enable_matplotlib_integration()


def png(figure):
    """Draws a figure that no backend shows: one that was made without pyplot."""
    from IPython.core.pylabtools import print_figure

    return print_figure(figure, fmt="png", base64=True)


def seaborn_chart(plot):
    """A plot of seaborn.objects."""
    return chart(plot.plot()._figure)


def chart(figure):
    """Returns what a figure shows, None for one that shows nothing."""
    axes = [a for a in figure.axes if not hasattr(a, "_colorbar") and a.get_label() != "<colorbar>"]
    if not any(a._children for a in axes):
        return None
    budget = shape.Budget(len(axes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        charts = [_of_axes(a, budget) for a in axes[: shape.SERIES]]
    if len(axes) == 1:
        return charts[0]
    title = getattr(figure, "_suptitle", None)
    made = shape.superchart(title.get_text() if title else None, charts)
    if len(axes) > len(charts):
        made["element_count"] = len(axes)
    return made


def _of_axes(axes, budget) -> dict:
    """Returns the chart of one axes; unknown if it can't be read, or not in time."""
    title = quietly(axes.get_title)
    kind = None if budget.spent() else quietly(artists.kind, axes)
    make = {
        "line": _lines,
        "scatter": _points,
        "bar": _bars,
        "pie": _pie,
        "box_and_whisker": _boxes,
    }.get(kind)
    made = quietly(make, axes, budget) if make else None
    if made is None:
        return shape.unknown(title)
    return shape.finish({"type": kind, "title": shape.words(title), **made})


def _ruled(axes) -> tuple[Axis, Axis, dict]:
    x, y = Axis(axes, axes.xaxis), Axis(axes, axes.yaxis)
    return x, y, {**shape.axes(x.label, y.label), **shape.ruled(x.members(), y.members())}


def _lines(axes, budget) -> dict:
    x, y, members = _ruled(axes)
    lines = [line for line in axes.get_lines() if not artists.is_grid(line)]
    lines = [line for line in lines if not artists.is_empty(line)] or lines
    most, names = budget.each(len(lines)), Names(axes)
    elements = []
    for line in lines[: shape.SERIES]:
        budget.check()
        label = names.of(line, "Line")
        elements.append(
            shape.series(label, line.get_xdata(), line.get_ydata(), most, "line", x.given, y.given)
        )
    return shape.counted({**members, "elements": elements}, len(lines))


def _points(axes, budget) -> dict:
    x, y, members = _ruled(axes)
    groups, names = [], Names(axes)
    for n, c in enumerate(c for c in axes.collections if artists.is_scatter(c) and len(c.get_offsets())):
        budget.check()
        at = c.get_offsets()
        parts = names.split(c, len(at)) if len(groups) < shape.SERIES else None
        groups.extend((name, at[keep]) for name, keep in parts or [(names.of(c, "Group", n), slice(None))])
    most = budget.each(len(groups))
    elements = [
        shape.series(label, at[:, 0], at[:, 1], most, "scatter", x.values, y.values)
        for label, at in groups[: shape.SERIES]
    ]
    return shape.counted({**members, "elements": elements}, len(groups))


def _bars(axes, budget) -> dict:
    members = shape.axes(axes.get_xlabel(), axes.get_ylabel())
    elements, count, lying, names = [], 0, False, Names(axes)
    for container in axes.containers:
        budget.check()
        bars = [b for b in artists.rectangles(container) if not artists.is_empty(b)]
        bars = bars or artists.rectangles(container)
        if not bars:
            continue
        count += len(bars)
        heights = [b.get_height() for b in bars]
        way = getattr(container, "orientation", None)
        lying = way == "horizontal" or (way is None and len(set(heights)) == 1)
        group = names.of(container, "Group")
        bars = bars[: shape.SERIES - len(elements)]
        if lying:
            labels = Axis(axes, axes.yaxis).labels([b.get_y() + b.get_height() / 2 for b in bars])
            values = [b.get_width() for b in bars]
        else:
            labels = Axis(axes, axes.xaxis).labels([b.get_x() + b.get_width() / 2 for b in bars])
            values = heights
        for label, value in zip(labels, shape.column(values)):
            elements.append({"label": label, "group": group, "value": value})
    if lying:
        members = shape.swapped(members)
    return shape.counted({**members, "elements": elements}, count)


def _pie(axes, budget) -> dict:
    wedges = artists.wedges(axes)
    elements = [
        {
            "label": shape.words(w.get_label()) or "",
            "angle": artists.rounded(abs(w.theta2 - w.theta1)),
            "radius": artists.rounded(w.r),
        }
        for w in wedges[: shape.SERIES]
    ]
    return shape.counted({"elements": elements}, len(wedges))


def _boxes(axes, budget) -> dict:
    _, _, members = _ruled(axes)
    lying, found = artists.boxes(axes, budget)
    position, names = Axis(axes, axes.yaxis if lying else axes.xaxis), Names(axes)
    labels = position.labels([b.pop("at") for b in found[: shape.SERIES]])
    groups = [names.colour(b.pop("patch")) for b in found]
    elements = [
        # Boxes side by side at one place differ in their colour.
        {"label": "%s, %s" % (label, group) if group and group != label else label, **box}
        for label, group, box in zip(labels, groups, found)
    ]
    if lying:
        members.update(shape.swapped({k: members[k] for k in ("x_label", "y_label", "x_unit", "y_unit")}))
    return shape.counted({**members, "elements": elements}, len(found))
