"""What an axes of matplotlib is made of."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right

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
    parts = [p for p in parts if not is_empty(p)] or parts  # seaborn's legends are of empty ones
    found = _kind(parts)
    if found != "unknown":
        return found
    # Bands of confidence and error bars go with a chart.
    main = [p for p in parts if not isinstance(p, (PolyCollection, LineCollection))]
    if _kind([p for p in main if not isinstance(p, Line2D)]) == "bar":
        main = [p for p in main if not _is_error_bar(p)]
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


def is_empty(part) -> bool:
    """Reports whether an artist draws nothing, whatever the axes."""
    if isinstance(part, PathCollection):
        return not len(part.get_offsets())
    if isinstance(part, Rectangle):
        return part.get_width() == 0 and part.get_height() == 0
    return isinstance(part, Line2D) and not len(part.get_xdata(orig=False))


def _is_error_bar(part) -> bool:
    """Reports whether a part is a line that seaborn draws on a bar: a stroke with a cap at each end."""
    if not isinstance(part, Line2D) or not 5 <= len(part.get_xdata(orig=False)) <= 8:
        return False
    points = part.get_xydata()
    points = points[~numpy.isnan(points).any(axis=1)]
    return sorted(len(numpy.unique(points[:, i])) for i in (0, 1)) == [2, 3]


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


def boxes(axes, budget) -> tuple[bool, list[dict]]:
    """Returns whether the boxes lie, and each with its place ``at`` and numbers, by where its parts are."""
    patches = [p for p in axes.patches if isinstance(p, PathPatch)]
    frames = [p.get_path().vertices for p in patches]
    lines = [(line, line.get_xydata()) for line in axes.get_lines()]
    lines = [(line, p) for line, p in lines if len(p)]
    lying = _are_lying(frames, lines)
    across = 1 if lying else 0  # the coordinate along which boxes stand side by side
    parts = _by_place(lines, across)
    out = []
    for n, (patch, f) in enumerate(zip(patches, frames)):
        if n % 50 == 0:
            budget.check()
        out.append({"patch": patch, **_box(f[:, across], f[:, 1 - across], parts, across)})
    return lying, out


def _by_place(lines, across: int) -> tuple[list[float], list]:
    """Sorts lines by their middle across the boxes: each box then looks only at its own."""
    parts = []
    for n, (line, p) in enumerate(lines):
        place = p[:, across]
        middle = (place[0] + place[1]) / 2 if len(place) == 2 else place.mean()
        if middle == middle:
            parts.append((float(middle), n, line, p))
    parts.sort(key=lambda part: part[:2])
    return [part[0] for part in parts], parts


def _are_lying(frames, lines) -> bool:
    """A standing box has a median with one y; it is the first line from side to side of a box."""
    pairs = [p for _, p in lines if len(p) == 2]
    if not pairs:
        return False
    pairs = numpy.asarray(pairs, dtype=float)
    flat = pairs[:, 0] == pairs[:, 1]  # of each: the same x, the same y
    for f in frames[:100]:
        low, high = f.min(axis=0), f.max(axis=0)
        inside = (pairs >= low - 1e-9).all(axis=(1, 2)) & (pairs <= high + 1e-9).all(axis=(1, 2))
        for n in numpy.flatnonzero(inside & (flat[:, 0] != flat[:, 1])):
            inner = 0 if flat[n, 1] else 1
            if abs(pairs[n, 1, inner] - pairs[n, 0, inner]) >= 0.4 * (high - low)[inner]:
                return not flat[n, 1]
    return False


def _box(sides, values, parts, across: int) -> dict:
    left, right = sides.min(), sides.max()
    # A notch may reach beyond the quartiles, which then are the values of these corners.
    first, third = (values[0], values[5]) if len(values) > 10 else (values.min(), values.max())
    middle, reach = (left + right) / 2, (right - left) / 2
    median, width, low, high, outliers = None, 0.0, first, third, []
    near = reach * 1e-3 + 1e-9
    begin, end = bisect_left(parts[0], middle - near), bisect_right(parts[0], middle + near)
    for _, _, line, p in parts[1][begin:end]:
        place, value = p[:, across], p[:, 1 - across]
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
