"""Boxes with whiskers, as people draw them with bokeh.

Quartiles are bars that float, whiskers are segments or an annotation, and points are outliers.
"""

from __future__ import annotations

from dskernel.charts import shape
from dskernel.charts.bokeh_values import label, values

MOST = 100_000  # strokes and points in all


def boxes(plot, drawn):
    """Returns whether the boxes lie, and each; None for a plot of something else."""
    kinds = {type(r.glyph).__name__ for r in drawn}
    bars = kinds & {"VBar", "HBar"}
    if len(bars) != 1 or not kinds - bars <= {"Segment", "Rect", "Scatter", "Circle"}:
        return None
    whiskers = [w for w in plot.center if type(w).__name__ == "Whisker"]
    strokes = [r for r in drawn if type(r.glyph).__name__ == "Segment"]
    if not (whiskers or strokes):
        return None
    lying = bars == {"HBar"}
    found: dict = {}
    for r in drawn:
        if type(r.glyph).__name__ in bars:
            low, high = ("left", "right") if lying else ("bottom", "top")
            for place, a, b in _rows(r, "y" if lying else "x", low, high):
                found.setdefault(place, _Box()).edges.update((a, b))
    if any(0 in b.edges and len(b.edges) < 3 for b in found.values()):
        return None
    for r in strokes:
        a, b, low, high = ("y0", "y1", "x0", "x1") if lying else ("x0", "x1", "y0", "y1")
        for place, other, start, end in _rows(r, a, b, low, high):
            if place == other and place in found:
                found[place].reach.extend((start, end))
    for w in whiskers:
        columns = w.source.data
        fields = (getattr(w, k) for k in ("base", "lower", "upper"))
        for place, *ends in zip(*(shape.column(columns[getattr(f, "field", f)]) for f in fields)):
            if place in found:
                found[place].reach.extend(ends)
    for r in drawn:
        if type(r.glyph).__name__ in ("Scatter", "Circle"):
            for place, value in _rows(r, *(("y", "x") if lying else ("x", "y"))):
                if place in found and isinstance(value, (int, float)):
                    found[place].outliers.append(value)
    return lying, [{"label": label(place), **b.numbers()} for place, b in found.items()]


def _rows(renderer, *names: str):
    columns = [values(renderer, name) for name in names]
    if min(map(len, columns)) > MOST:
        raise ValueError("too many to be boxes")
    columns = [[tuple(v) if isinstance(v, list) else v for v in shape.column(c)] for c in columns]
    return zip(*columns)


class _Box:
    """The parts of one box."""

    def __init__(self) -> None:
        self.edges: set = set()  # of its bars: the quartiles, and the median where two bars meet
        self.reach: list = []
        self.outliers: list = []

    def numbers(self) -> dict:
        edges = sorted(e for e in self.edges if isinstance(e, (int, float)))
        reach = [v for v in self.reach if isinstance(v, (int, float))] + edges
        return {
            "min": min(reach, default=None),
            "first_quartile": edges[0] if edges else None,
            "median": edges[1] if len(edges) == 3 else None,
            "third_quartile": edges[-1] if edges else None,
            "max": max(reach, default=None),
            "outliers": self.outliers[:1000],
        }
