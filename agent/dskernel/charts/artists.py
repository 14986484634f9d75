"""What an axes of matplotlib is made of."""

from __future__ import annotations

import math

import numpy
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch, Rectangle, Wedge
from matplotlib.text import Text


def kind(axes) -> str:
    """Returns the type of an axes' chart, by E2B's rules."""
    if axes.name == "3d":
        return "unknown"
    parts = [a for a in axes._children if not isinstance(a, Text)]
    found = _kind(parts)
    if found != "unknown":
        return found
    # Bands of confidence and error bars go with a chart, and legends of older seaborns are empty groups.
    main = [p for p in parts if not isinstance(p, (PolyCollection, LineCollection)) and not _is_empty(p)]
    if len(main) == len(parts):
        return found
    found = _kind(main)
    if found == "line" and all(is_grid(p) or len(p.get_xdata(orig=False)) < 2 for p in main):
        return "unknown"  # the bands are the chart: violins
    return found


def _kind(parts: list) -> str:
    if parts and all(isinstance(p, Line2D) for p in parts):
        return "line"
    if parts and all(isinstance(p, (PathPatch, Line2D)) for p in parts):
        return "box_and_whisker"
    parts = [p for p in parts if not (isinstance(p, Line2D) and is_grid(p))]
    for name, types in (("scatter", PathCollection), ("pie", Wedge), ("bar", Rectangle)):
        if parts and all(isinstance(p, types) for p in parts):
            return name
    return "unknown"


def _is_empty(part) -> bool:
    if isinstance(part, PathCollection):
        return not len(part.get_offsets())
    return isinstance(part, Line2D) and not len(part.get_xdata(orig=False))


def is_grid(line) -> bool:
    """Reports whether a line is like one of a grid: two points with the same x or the same y."""
    x, y = line.get_xdata(orig=False), line.get_ydata(orig=False)
    return len(x) == 2 and len(y) == 2 and bool(x[0] == x[1] or y[0] == y[1])


def is_scatter(collection) -> bool:
    return isinstance(collection, PathCollection)


def rectangles(container) -> list:
    return [p for p in container if isinstance(p, Rectangle)]


def wedges(axes) -> list:
    return [p for p in axes.patches if isinstance(p, Wedge)]


def rounded(value):
    """Rounds to 8 significant digits; None for what is no number."""
    value = float(value)
    return float("%.8g" % value) if math.isfinite(value) else None


def boxes(axes) -> tuple[bool, list[dict]]:
    """Returns whether the boxes lie, and each with its place ``at`` and numbers, by where its parts are."""
    frames = [p.get_path().vertices for p in axes.patches if isinstance(p, PathPatch)]
    lines = [(line, _ends(line)) for line in axes.get_lines()]
    lines = [(line, p) for line, p in lines if len(p)]
    lying = _are_lying(frames, lines)
    across = 1 if lying else 0  # the coordinate along which boxes stand side by side
    return lying, [_box(f[:, across], f[:, 1 - across], lines, across) for f in frames]


def _ends(line):
    return numpy.column_stack([line.get_xdata(orig=False), line.get_ydata(orig=False)]).astype(float)


def _are_lying(frames, lines) -> bool:
    """A standing box has a median with one y; it is the first line from side to side of a box."""
    for f in frames:
        low, high = f.min(axis=0), f.max(axis=0)
        for _, p in lines:
            if len(p) == 2 and (p >= low - 1e-9).all() and (p <= high + 1e-9).all():
                (x0, y0), (x1, y1) = p
                if (y0 == y1) != (x0 == x1):
                    inner = 0 if y0 == y1 else 1
                    width = (high - low)[inner]
                    if abs(p[1, inner] - p[0, inner]) >= 0.4 * width:
                        return y0 != y1
    return False


def _box(sides, values, lines, across: int) -> dict:
    left, right = sides.min(), sides.max()
    # A notch may reach beyond the quartiles, which then are the values of these corners.
    first, third = (values[0], values[5]) if len(values) > 10 else (values.min(), values.max())
    middle, reach = (left + right) / 2, (right - left) / 2
    median, width, low, high, outliers = None, 0.0, first, third, []
    for line, p in lines:
        place, value = p[:, across], p[:, 1 - across]
        if not (abs(place.mean() - middle) <= reach * 1e-3 + 1e-9):
            continue  # of another box
        if line.get_linestyle() in ("None", "", " ") and line.get_marker() not in ("None", "", " ", None):
            if numpy.ptp(place) <= 1e-9 * max(1.0, abs(middle)):
                outliers.extend(value.tolist())
        elif len(p) == 2 and place[0] == place[1]:  # a whisker
            low, high = min(low, value.min()), max(high, value.max())
        elif len(p) == 2 and value[0] == value[1] and first <= value[0] <= third:
            if numpy.ptp(place) >= width:  # the others are caps, less wide
                median, width = value[0], numpy.ptp(place)
    return {
        "at": middle,
        "min": rounded(low),
        "first_quartile": rounded(first),
        "median": None if median is None else rounded(median),
        "third_quartile": rounded(third),
        "max": rounded(high),
        "outliers": [rounded(v) for v in outliers[:1000]],
    }
