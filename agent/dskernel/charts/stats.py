"""Numbers that other libraries leave to their JavaScript: boxes, groups, bins. Fast for a million values."""

from __future__ import annotations

import math
import statistics
import sys
from itertools import compress, repeat

OUTLIERS = 1_000

REDUCE = {
    "count": len,
    "sum": math.fsum,
    "mean": statistics.fmean,
    "average": statistics.fmean,
    "avg": statistics.fmean,
    "median": statistics.median,
    "min": min,
    "max": max,
}

_EMPTY = dict.fromkeys(("min", "first_quartile", "median", "third_quartile", "max"))


def finite(values) -> list[float]:
    """Returns the numbers among values, sorted: a list, or an array where there is numpy."""
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        try:
            array = numpy.asarray(values)
            if array.dtype.kind == "O":
                array = numpy.asarray([math.nan if v is None else v for v in values])
            if array.dtype.kind in "iuf":
                array = array.astype(float)
                return numpy.sort(array[numpy.isfinite(array)])
        except (TypeError, ValueError):
            pass
    return sorted(float(v) for v in values if isinstance(v, (int, float)) and math.isfinite(v))


def box(values) -> dict:
    """Returns quartiles, whiskers within 1.5 times the distance of the quartiles, and the rest."""
    numbers = finite(values)
    if not len(numbers):
        return {**_EMPTY, "outliers": []}
    first, median, third = (quantile(numbers, q) for q in (0.25, 0.5, 0.75))
    reach = 1.5 * (third - first)
    low, high = _first(numbers, first - reach), _last(numbers, third + reach)
    if low >= high:  # nothing is inside
        low, high = 0, len(numbers)
    outliers = [float(v) for v in numbers[: min(low, OUTLIERS)]]
    outliers += [float(v) for v in numbers[high : high + OUTLIERS - len(outliers)]]
    made = {
        "min": numbers[low],
        "first_quartile": first,
        "median": median,
        "third_quartile": third,
        "max": numbers[high - 1],
    }
    return {**{k: float("%.8g" % v) for k, v in made.items()}, "outliers": outliers}


def _first(numbers, least: float) -> int:
    from bisect import bisect_left

    return bisect_left(numbers, least)


def _last(numbers, most: float) -> int:
    from bisect import bisect_right

    return bisect_right(numbers, most)


def quantile(numbers, q: float) -> float:
    """Returns a quantile of sorted numbers, linear between their middles as plotly has it."""
    at = min(max(q * len(numbers) - 0.5, 0.0), len(numbers) - 1.0)
    low = int(at)
    high = min(low + 1, len(numbers) - 1)
    return float(numbers[low] + (numbers[high] - numbers[low]) * (at - low))


def factors(labels) -> tuple[list, list]:
    """Returns the distinct labels in the order they come, and for each label its number among them."""
    numpy, pandas = sys.modules.get("numpy"), sys.modules.get("pandas")
    if hasattr(labels, "to_numpy"):
        labels = labels.to_numpy()
    if isinstance(labels, range):
        return list(labels), list(labels) if numpy is None else numpy.arange(len(labels))
    if pandas is not None and numpy is not None and len(labels) > 10_000:
        if not isinstance(labels, numpy.ndarray):
            array = numpy.empty(len(labels), dtype=object)
            array[:] = labels
            labels = array
        codes, found = pandas.factorize(labels, use_na_sentinel=False)
        return list(found), codes
    numbers: dict = {}
    codes = [numbers.setdefault(v, len(numbers)) for v in labels]
    return list(numbers), codes if numpy is None else numpy.asarray(codes, dtype="int64")


def groups(labels, values) -> list[tuple]:
    """Returns each distinct label with its values, in the order they come."""
    found, codes = factors(labels)
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return [(label, list(compress(values, (c == n for c in codes)))) for n, label in enumerate(found)]
    if hasattr(values, "to_numpy"):
        values = values.to_numpy()
    if not isinstance(values, numpy.ndarray):
        values = as_array(values)
    order = numpy.argsort(codes, kind="stable")
    ends = numpy.cumsum(numpy.bincount(codes, minlength=len(found)))
    return list(zip(found, numpy.split(values[order], ends[:-1])))


def sums(labels, values) -> tuple[list, list[float]]:
    """Returns the distinct labels and the sum of the values of each; without values, how many it has."""
    names, codes = factors(labels)
    numpy = sys.modules.get("numpy")
    if numpy is None:
        total = [0.0] * len(names)
        for code, value in zip(codes, values if len(values) else repeat(1)):
            total[code] += value or 0
        return names, total
    weights = None
    if len(values):
        weights = as_array(values)[: len(codes)]
        if weights.dtype.kind == "O":
            weights = numpy.asarray([v if isinstance(v, (int, float)) else 0 for v in weights])
        weights = numpy.nan_to_num(weights.astype(float))
        codes = codes[: len(weights)]
    return names, numpy.bincount(codes, weights, minlength=len(names)).tolist()


def as_array(values):
    """Returns a list as an array: of floats if all are numbers or None, else of objects."""
    numpy = sys.modules["numpy"]
    try:
        array = numpy.asarray(values)
        if array.dtype.kind in "iuf" and array.ndim == 1:
            return array
    except (TypeError, ValueError):
        pass
    array = numpy.empty(len(values), dtype=object)
    array[:] = list(values)
    return array


def reduced(how: str, values):
    """Returns the sum, the mean and so on of values; None without numbers. Counting counts all."""
    if how == "count":
        return len(values)
    numbers = finite(values)
    return float(REDUCE[how](numbers)) if len(numbers) else None
