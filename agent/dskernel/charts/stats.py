"""The numbers of a box, for libraries whose JavaScript computes them."""

from __future__ import annotations

import math

OUTLIERS = 1_000


def box(values) -> dict:
    """Returns quartiles, whiskers within 1.5 times the distance of the quartiles, and the rest."""
    numbers = sorted(float(v) for v in values if isinstance(v, (int, float)) and math.isfinite(v))
    if not numbers:
        return {
            "min": None,
            "first_quartile": None,
            "median": None,
            "third_quartile": None,
            "max": None,
            "outliers": [],
        }
    first, median, third = (quantile(numbers, q) for q in (0.25, 0.5, 0.75))
    reach = 1.5 * (third - first)
    inside = [v for v in numbers if first - reach <= v <= third + reach] or numbers
    outliers = [v for v in numbers if not inside[0] <= v <= inside[-1]]
    made = {
        "min": inside[0],
        "first_quartile": first,
        "median": median,
        "third_quartile": third,
        "max": inside[-1],
    }
    return {**{k: float("%.8g" % v) for k, v in made.items()}, "outliers": outliers[:OUTLIERS]}


def quantile(numbers: list[float], q: float) -> float:
    """Returns a quantile of sorted numbers, linear between their middles as plotly has it."""
    at = min(max(q * len(numbers) - 0.5, 0.0), len(numbers) - 1.0)
    low = int(at)
    high = min(low + 1, len(numbers) - 1)
    return numbers[low] + (numbers[high] - numbers[low]) * (at - low)
