"""One axis of an axes of matplotlib: its ticks, its scale, and its values as the user gave them."""

from __future__ import annotations

import sys

import numpy
from matplotlib import dates

from dskernel.charts import shape
from dskernel.guard import quietly
from dskernel.values import column, scalar

MOST = 1_000  # ticks


class Axis:
    """Reads an axis. Dates are numbers in matplotlib, and periods others in pandas."""

    def __init__(self, axes, axis) -> None:
        self.axis = axis
        self.label = axis.get_label_text()
        converter = axis.get_converter() if hasattr(axis, "get_converter") else axis.converter
        self.freq = getattr(axis, "freq", None)
        if self.freq is not None and "pandas" not in sys.modules:
            self.freq = None
        self.dated = self.freq is not None or self._is_dated(converter)
        mapping = getattr(axis.units, "_mapping", None)  # of texts, to 0, 1, 2
        self.names = {n: str(name) for name, n in mapping.items()} if isinstance(mapping, dict) else {}
        self.ticks = numpy.asarray(axis.get_majorticklocs(), dtype=float)[:MOST]

    def _is_dated(self, converter) -> bool:
        if isinstance(self.axis.get_major_locator(), dates.DateLocator):
            return True
        kinds = (dates.DateConverter, getattr(dates, "_SwitchableDateConverter", dates.DateConverter))
        return isinstance(converter, kinds)

    def tick_labels(self) -> list[str]:
        made = quietly(self.axis.get_major_formatter().format_ticks, list(self.ticks)) or []
        made = [shape.text(str(m)) for m in made][: len(self.ticks)]
        return made + [""] * (len(self.ticks) - len(made))

    def members(self) -> dict:
        labels = self.tick_labels()
        name = self.axis.get_scale()
        if self.dated:
            return {"ticks": self.values(self.ticks), "tick_labels": labels, "scale": "datetime"}
        if name == "linear" and self._is_categorical(labels):
            name = "categorical"
        return {
            "ticks": [scalar(float(t)) for t in self.ticks],
            "tick_labels": labels,
            "scale": name if name in shape.SCALES else "function",
        }

    def _is_categorical(self, labels: list[str]) -> bool:
        if not len(labels) or self.ticks.tolist() != list(range(len(labels))):
            return False
        return not any(_number(label) == n for n, label in enumerate(labels))

    def given(self, values) -> list:
        """Returns the data of a line as the user gave it; pandas gives periods as numbers."""
        if self.freq is not None and numpy.asarray(values).dtype.kind in "if":
            return self.values(values)
        return column(values)

    def values(self, numbers) -> list:
        """Returns numbers of matplotlib's as what they stand for."""
        if self.freq is not None:
            return [quietly(self._period, n) for n in numbers]
        if self.dated:
            return [quietly(_iso, n) for n in numbers]
        if self.names:
            return [self.names.get(n, n) for n in column(numpy.asarray(numbers))]
        return column(numpy.ma.asarray(numbers) if numpy.ma.is_masked(numbers) else numpy.asarray(numbers))

    def _period(self, number):
        return sys.modules["pandas"].Period(ordinal=int(number), freq=self.freq).to_timestamp().isoformat()

    def labels(self, places: list[float]) -> list[str]:
        """Names places by their ticks; those without one by their numbers."""
        ticks, texts = self.ticks, self.tick_labels()
        spread = (max(places) - min(places)) / max(1, len(places) - 1) if places else 0
        if len(ticks) == len(places) and all(texts):
            near = spread or 1.0
            if all(abs(t - p) <= near for t, p in zip(ticks, places)):
                return texts
        out = []
        for p in places:
            at = int(numpy.argmin(numpy.abs(ticks - p))) if len(ticks) else -1
            fixed = self.names or self._is_named(texts)
            if at >= 0 and texts[at] and (abs(ticks[at] - p) <= (0.5 if fixed else 1e-9 * max(1.0, abs(p)))):
                out.append(texts[at])
            else:
                out.append(str(self.values([p])[0]) if self.dated else "%.6g" % p)
        return out

    def _is_named(self, texts: list[str]) -> bool:
        """Reports whether ticks have names rather than numbers."""
        return any(t and _number(t) is None for t in texts)


def _number(label: str):
    try:
        return float(label.replace("\u2212", "-"))
    except ValueError:
        return None


def _iso(number) -> str:
    return dates.num2date(number).isoformat()
