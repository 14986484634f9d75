"""The shapes of charts, and how much of a figure is taken.

Beyond E2B's members, a series that was thinned has ``point_count``, its true number of points, and a chart
that was cut has ``element_count``, its true number of elements.
"""

from __future__ import annotations

import re
import sys
import time

from dskernel.values import column, text  # noqa: F401 - for the modules beside

SERIES = 1_000  # elements of one chart
POINTS = 5_000  # of one series
ALL_POINTS = 50_000  # of one figure
TIME = 0.5  # seconds of processor time for one figure; what is left then is unknown

SCALES = frozenset(
    "linear datetime categorical log symlog logit function functionlog asinh".split()
)  # E2B's clients drop a chart with another

_UNIT = re.compile(r"\s\((.*?)\)|\[(.*?)\]")


# Of this thread: a busy machine makes no chart unknown.
_clock = getattr(time, "thread_time", time.monotonic)


class Budget:
    """How much time and how many points a figure has left."""

    def __init__(self, parts: int = 1) -> None:
        self.points = ALL_POINTS // max(1, parts)  # for each part
        self.deadline = _clock() + TIME

    def spent(self) -> bool:
        return _clock() > self.deadline

    def check(self) -> None:
        """Raises TimeoutError when the time is over; for loops."""
        if self.spent():
            raise TimeoutError

    def each(self, series: int) -> int:
        """Returns how many points each of so many series may have."""
        return max(4, min(POINTS, self.points // max(1, series)))


def words(value) -> str | None:
    """Returns a title or a label, None if there is none."""
    if value is None:
        return None
    return text(str(value)) or None


def unit(label: str | None) -> str | None:
    """Returns what a label names in brackets: "Time (s)" is in s."""
    found = _UNIT.search(label or "")
    return (found.group(1) or found.group(2) or None) if found else None


def unknown(title=None) -> dict:
    """A chart of a kind that has no shape here."""
    return {"type": "unknown", "title": words(title), "elements": []}


def superchart(title, charts: list[dict]) -> dict:
    """Several charts in one figure."""
    return finish({"type": "superchart", "title": words(title), "elements": charts})


def axes(x_label=None, y_label=None) -> dict:
    """The labels and units of a chart with axes."""
    x, y = words(x_label), words(y_label)
    return {"x_label": x, "y_label": y, "x_unit": unit(x), "y_unit": unit(y)}


def swapped(members: dict) -> dict:
    """Labels and units with x and y changed places."""
    other = {"x": "y", "y": "x"}
    return {other[name[0]] + name[1:]: value for name, value in members.items()}


def scale(name: str | None, values=()) -> dict:
    """One axis of a library whose JavaScript chooses the ticks: the scale, as named or by the values."""
    return {"ticks": [], "tick_labels": [], "scale": _scale(name, values)}


def _scale(name: str | None, values) -> str:
    if name in SCALES and name != "linear":
        return name
    for v in values:
        if v is None:
            continue
        if isinstance(v, str):
            return "datetime" if re.match(r"\d{4}-\d\d(-\d\d([T ]\d\d:.*)?)?$", v) else "categorical"
        break
    return "linear"


def ruled(x: dict, y: dict) -> dict:
    """Ticks and scales of both axes."""
    return {**{"x_" + k: v for k, v in x.items()}, **{"y_" + k: v for k, v in y.items()}}


def series(label, x, y, most: int, kind: str = "line", x_as=column, y_as=column) -> dict:
    """One series of points, thinned to at most so many, then written by x_as and y_as."""
    x, y = (v.to_numpy() if hasattr(v, "to_numpy") else v for v in (x, y))
    count = min(len(x), len(y))
    keep = chosen(x, y, count, most, kind)
    if keep is not None:
        x, y = (v[keep] if hasattr(v, "dtype") else [v[i] for i in keep] for v in (x, y))
    made = {"label": words(label) or "", "points": [list(p) for p in zip(x_as(x), y_as(y))]}
    if keep is not None:
        made["point_count"] = count
    return made


def chosen(x, y, count: int, most: int, kind: str):
    """Returns which points to keep, None for all: of a line the peaks of each stretch, else evenly spread."""
    if count <= most:
        return None
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return [i * (count - 1) // (most - 1) for i in range(most)]
    try:
        heights = numpy.asarray(y[:count], dtype=float)
    except (TypeError, ValueError):
        heights = None
    if heights is None or kind != "line" or most < 8:
        return numpy.linspace(0, count - 1, most).astype(int)
    stretches = most // 2 - 1
    width = count // stretches
    body = heights[: width * stretches].reshape(stretches, width)
    starts = numpy.arange(stretches) * width
    low = numpy.where(numpy.isfinite(body), body, numpy.inf).argmin(axis=1) + starts
    high = numpy.where(numpy.isfinite(body), body, -numpy.inf).argmax(axis=1) + starts
    return numpy.unique(numpy.concatenate([[0], low, high, [count - 1]]))


def finish(chart: dict) -> dict:
    """Cuts a chart's elements to what is allowed, and names their number then."""
    count = len(chart["elements"])
    if count > SERIES:
        chart["elements"] = chart["elements"][:SERIES]
    return counted(chart, count)


def counted(chart: dict, count: int) -> dict:
    """Names the true number of elements, if some were left out."""
    if count > len(chart["elements"]):
        chart["element_count"] = count
    return chart
