"""The rows that a chart of altair draws, and what Vega would compute of them: groups, sums, bins, dates."""

from __future__ import annotations

import math
import sys
from operator import itemgetter

from dskernel.charts import histogram, shape, stats

UNITS = {
    "year": 4,
    "yearmonth": 7,
    "yearmonthdate": 10,
    "yearmonthdatehours": 13,
}  # characters of an ISO text
PARTS = {"month": slice(5, 7), "date": slice(8, 10), "hours": slice(11, 13)}
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


class Rows:
    """Rows of data, and the channels that draw them."""

    def __init__(self, rows: list, encoding: dict, budget) -> None:
        self.rows = rows
        self.encoding = encoding
        self.budget = budget
        self.columns: dict = {}

    def channel(self, name: str) -> dict:
        return self.encoding.get(name) or {}

    def field(self, name: str):
        return self.channel(name).get("field")

    def label(self, name: str):
        channel = self.channel(name)
        for given in (channel, channel.get("axis") or {}):
            if "title" in given:  # None is no title
                return given["title"]
        how, field = channel.get("aggregate"), channel.get("field")
        if how == "count":
            return "Count of Records"
        if channel.get("bin"):
            return "%s (binned)" % field
        if channel.get("timeUnit"):
            return "%s (%s)" % (field, _unit(channel))
        return "%s of %s" % (str(how).capitalize(), field) if how else field

    def group(self):
        return next(
            (self.field(c) for c in ("color", "detail", "shape", "strokeDash") if self.field(c)), None
        )

    def split(self) -> list[tuple]:
        """Returns the names by colour, and which rows each has; None is all."""
        by = self.group()
        if not by:
            return [("", None)]
        names, codes = stats.factors(self.column(by))
        self.budget.check()
        if hasattr(codes, "argsort"):
            order = codes.argsort(kind="stable")
            bounds = codes[order].searchsorted(range(len(names) + 1))
            parts = [order[a:b] for a, b in zip(bounds, bounds[1:])]
        else:
            parts = [[i for i, c in enumerate(codes) if c == n] for n in range(len(names))]
        return list(zip(map(str, names), parts))

    def column(self, field):
        """Returns a field of all rows."""
        if field not in self.columns:
            try:
                values = list(map(itemgetter(field), self.rows))
            except KeyError:
                values = [row.get(field) for row in self.rows]
            self.columns[field] = stats.as_array(values) if "numpy" in sys.modules else values
            self.budget.check()
        return self.columns[field]

    def values(self, part, name: str):
        """Returns what a channel draws of some rows."""
        if not self.field(name):
            return [None] * (len(self.rows) if part is None else len(part))
        column = self.column(self.field(name))
        if part is not None:
            column = column[part] if hasattr(column, "dtype") else [column[i] for i in part]
        channel = self.channel(name)
        if channel.get("timeUnit"):
            return [_in_unit(v, _unit(channel)) for v in column]
        return self._binned(name, channel["bin"], column) if channel.get("bin") else column

    def _binned(self, name: str, options, column):
        if options == "binned" or not isinstance(options, (bool, dict)):
            raise ValueError("computed where it is drawn")
        every = stats.finite(self.column(self.field(name)))
        start, end, step = histogram.edges(
            float(every[0]), float(every[-1]), options if options is not True else {}
        )
        middles = [float("%.12g" % (start + (n + 0.5) * step)) for n in range(round((end - start) / step))]

        def middle(v):
            if not isinstance(v, (int, float)):
                return v
            return middles[math.floor(1e-14 + (min(v, end - step) - start) / step)]

        if hasattr(column, "dtype") and column.dtype.kind in "iu":
            column = column.astype(float)
        if hasattr(column, "dtype") and column.dtype.kind == "f" and len(every) == len(self.rows):
            numpy = sys.modules["numpy"]
            at = numpy.floor(1e-14 + (numpy.minimum(column, end - step) - start) / step).astype(int)
            return numpy.asarray(middles)[at]
        return [middle(v) for v in shape.column(column)]

    def reduced(self, part, at: str, value: str) -> tuple:
        """Returns both channels, with an aggregate of the value for each place."""
        how = self.channel(value).get("aggregate")
        places = self.values(part, at)
        if how is None:
            return places, self.values(part, value)
        if how not in stats.REDUCE:
            raise ValueError(how)
        if how == "count":
            names, sums = stats.sums(places, ())
            made = list(zip(names, map(int, sums)))
        else:
            made = [(k, stats.reduced(how, v)) for k, v in stats.groups(places, self.values(part, value))]
        if self.channel(at).get("bin") or self.channel(at).get("timeUnit"):
            made.sort(key=lambda pair: (pair[0] is None, pair[0]))
        if self.channel(at).get("timeUnit") and _unit(self.channel(at)) == "month":
            made = [(MONTHS[int(k) - 1], v) for k, v in made if k]
        return [k for k, _ in made], [v for _, v in made]

    def rule(self, name: str, values: list) -> dict:
        channel = self.channel(name)
        kind = {"temporal": "datetime", "nominal": "categorical", "ordinal": "categorical"}.get(
            channel.get("type")
        )
        scale = (channel.get("scale") or {}).get("type")
        return shape.scale(scale if scale in shape.SCALES else kind, values)

    def axes(self) -> dict:
        return shape.axes(self.label("x"), self.label("y"))


def _unit(channel: dict) -> str:
    unit = channel["timeUnit"]
    return str(unit.get("unit") if isinstance(unit, dict) else unit)


def _in_unit(value, unit: str):
    """Cuts a date as an ISO text to what a unit of time tells apart."""
    if unit not in UNITS and unit not in PARTS:
        raise ValueError("computed where it is drawn")
    if value is None:
        return None
    if (
        not isinstance(value, str) or value[4:5] != "-" or value.endswith("Z")
    ):  # others move with the time zone
        raise ValueError("no date")
    return value[: UNITS[unit]] if unit in UNITS else value[PARTS[unit]]
