"""The bars of histograms whose bins the JavaScript of plotly (``bars``) or of Vega (``edges``) would make."""

from __future__ import annotations

import math

from dskernel.charts import stats
from dskernel.values import scalar

MOST = 10_000  # bins


def bars(traces: list[dict], at: str, array):
    """Yields each trace with its bars, label and value: of a category, or of a bin by its middle.

    Traces of one axis share their bins, as those of plotly.express do.
    """
    import numpy

    data = [stats.as_array(array(t.get(at))) for t in traces]
    numeric = all(d.dtype.kind in "iuf" for d in data)
    if numeric:
        every = numpy.concatenate([d.astype(float) for d in data])
        start, size, count = _bins(every[numpy.isfinite(every)], traces[0], at)
    for trace, places in zip(traces, data):
        weights = array(trace.get("x" if at == "y" else "y"))
        if numeric:
            inside = numpy.isfinite(places.astype(float))
            numbers = numpy.floor((places[inside] - start) / size + 1e-9).astype(int)
            kept = (numbers >= 0) & (numbers < count)
            codes, labels = numbers[kept], ["%.6g" % (start + (n + 0.5) * size) for n in range(count)]
            weights = stats.as_array(weights)[inside][kept] if len(weights) == len(places) else None
        else:
            names, codes = stats.factors(places)
            labels = [str(scalar(n)) for n in names]
            weights = weights if len(weights) == len(places) else None
        values = _values(codes, len(labels), weights, trace)
        made = list(zip(labels, values))
        while numeric and made and not made[-1][1]:
            made.pop()
        yield trace, made


def _values(codes, count: int, weights, trace: dict) -> list:
    import numpy

    how = trace.get("histfunc") or "count"
    if how == "count" or weights is None:
        found = numpy.bincount(codes, minlength=count)
    else:
        weights = numpy.nan_to_num(numpy.asarray(weights, dtype=float))
        found = numpy.bincount(codes, weights, minlength=count)
        if how == "avg":
            found = found / numpy.maximum(numpy.bincount(codes, minlength=count), 1)
        elif how != "sum":
            raise ValueError(how)
    if trace.get("histnorm"):
        found = found * ((100 if trace["histnorm"] == "percent" else 1) / (found.sum() or 1))
    return found.tolist()


def _bins(data, trace: dict, at: str) -> tuple[float, float, int]:
    """Returns start, size and number of bins, as plotly.js' autoBin has them."""
    import numpy

    if not len(data):
        return 0.0, 1.0, 0
    low, high = float(data.min()), float(data.max())
    given = trace.get(at + "bins") or {}
    size = given.get("size")
    if size is None:
        most = trace.get("nbins" + at)
        size = _nice((high - low) / most if most else _rough(data, low, high))
    start = given.get("start")
    if start is None:
        start = _shifted(math.ceil(low / size * 0.999999999) * size - size, data, size, low, high)
    count = 1 + math.floor((min(high, given.get("end", high)) - start) / size)
    if count > MOST:
        raise ValueError("more bins than are worth it")
    return float(start), float(size), int(numpy.int64(count))


def _rough(data, low: float, high: float) -> float:
    """Returns a size by the deviation; not less than the smallest difference, rounded down."""
    import numpy

    steps = numpy.diff(numpy.sort(data))
    span = (high - low) or 1.0
    steps = steps[steps > span / max(1, len(data) - 1) / 10_000]
    least = float(steps.min()) if len(steps) else span
    power = 10.0 ** math.floor(math.log10(least))
    smallest = power * max((n for n in (0.9, 1.9, 4.9, 9.9) if n <= least / power), default=0.9)
    return max(smallest, 2 * float(data.std()) / len(data) ** 0.4) or 1.0


def _nice(rough: float) -> float:
    """Returns the next of 2, 5, 10 times a power of ten."""
    if not rough > 0:
        return 1.0
    base = 10.0 ** math.floor(math.log10(rough))
    return base * next((n for n in (2, 5, 10) if rough / base <= n), 10)


def _shifted(start: float, data, size: float, low: float, high: float) -> float:
    """Moves bins whose edges lie on many values, as plotly.js' autoShiftNumericBins does."""
    import numpy

    def near(values):
        return (1 + (values - start) * 100 / size) % 100 < 2

    if (data % 1 == 0).all():
        if size < 1:
            return low - 0.5 * size
        start -= 0.5
        return start + size if start + size < low else start
    if near(data + size / 2).sum() < len(data) * 0.1:
        if near(data).sum() > len(data) * 0.3 or near(numpy.float64(low)) or near(numpy.float64(high)):
            return start + (size / 2 if start + size / 2 < low else -size / 2)
    return start


def edges(low: float, high: float, options: dict) -> tuple[float, float, float]:
    """Returns start, end and size of bins as Vega makes them."""
    most, step = options.get("maxbins", 10), options.get("step")
    if options.get("extent"):
        low, high = options["extent"]
    span = (high - low) or abs(low) or 1.0
    if step is None:
        level = math.ceil(math.log10(most))
        step = max(options.get("minstep", 0), 10.0 ** (round(math.log10(span)) - level))
        while math.ceil(span / step) > most:
            step *= 10
        for part in (5, 2):
            if step / part >= options.get("minstep", 0) and span / (step / part) <= most:
                step /= part
    tiny = 10.0 ** (-(0 if step >= 1 else int(-math.log10(step)) + 1) - 1)
    start = math.floor(low / step + tiny) * step
    if low < start:
        start -= step
    end = math.ceil(high / step) * step
    if math.ceil((end - start) / step) > MOST:
        raise ValueError("more bins than are worth it")
    return start, end if end != start else start + step, step
