"""Values of Python's as JSON has them: no NaN, no infinity, dates as ISO texts, integers exact."""

from __future__ import annotations

import math
import sys
from datetime import date, datetime, time, timedelta
from decimal import Decimal

LONGEST = 10_000  # characters of one text


def scalar(value):
    """Returns one value as None, bool, int, float or str."""
    if value is None or isinstance(value, bool):
        return value
    kind = type(value)
    if kind is int:
        # Python refuses to write more digits than this.
        return value if value.bit_length() < 10_000 else hex(value)[:LONGEST]
    if kind is float:
        return value if math.isfinite(value) else None
    if kind is str:
        return text(value)
    if isinstance(value, (datetime, date, time)):
        return None if str(value) == "NaT" else value.isoformat()
    if kind.__module__ == "numpy":
        return _of_numpy(value)
    if isinstance(value, (int, float)):  # subclasses, such as enumerations
        return scalar(int(value) if isinstance(value, int) else float(value))
    if isinstance(value, str):
        return text(str.__str__(value))
    if isinstance(value, Decimal):
        return str(value) if value.is_finite() else None
    if isinstance(value, timedelta):
        return None if str(value) == "NaT" else str(value)
    if kind.__name__ == "Period" and hasattr(value, "to_timestamp"):
        return value.to_timestamp().isoformat()
    if kind.__name__ in ("NaTType", "NAType"):
        return None
    if isinstance(value, complex):
        return text(str(value))
    if isinstance(value, (bytes, bytearray)):
        return text(bytes(value[:LONGEST]).decode("utf-8", "backslashreplace"))
    return text(str(value))


def text(value: str) -> str:
    """Returns a text of bounded length that UTF-8 can hold."""
    if len(value) > LONGEST:
        value = value[:LONGEST] + "\u2026"
    return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")


def _of_numpy(value):
    import numpy

    if isinstance(value, numpy.datetime64):
        return None if numpy.isnat(value) else _iso(value).item()
    if isinstance(value, numpy.timedelta64):
        return None if numpy.isnat(value) else _span(value)
    if isinstance(value, numpy.floating):
        value = float(value)
        return value if math.isfinite(value) else None
    if isinstance(value, numpy.generic):
        item = value.item()
        return str(item) if isinstance(item, numpy.generic) else scalar(item)
    return text(str(value))


def _span(value) -> str:
    """Writes timedelta64 as Python has it, with nanoseconds where there are any."""
    micro = value.astype("timedelta64[us]")
    rest = int((value - micro).astype("timedelta64[ns]").astype("int64"))
    shown = str(micro.item())
    if rest > 0:
        shown += ("" if "." in shown else ".000000") + "%03d" % rest
    return shown


def _iso(values):
    """Writes datetime64 with seconds, and with as many digits of a second as there are."""
    import numpy

    values = numpy.asarray(values)
    seconds = values.astype("datetime64[s]")
    exact = numpy.isnat(values) | (seconds == values)
    if exact.all():
        return numpy.datetime_as_string(seconds)
    micro = values.astype("datetime64[us]")
    exact = numpy.isnat(values) | (micro == values)
    return numpy.datetime_as_string(micro if exact.all() else values.astype("datetime64[ns]"))


def column(values) -> list:
    """Returns many values, as ``scalar`` has each; fast for arrays."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(values, numpy.ndarray):
        return [scalar(v) for v in values]
    if isinstance(values, numpy.ma.MaskedArray):
        gone = numpy.ma.getmaskarray(values)
        return [None if m else v for m, v in zip(gone.tolist(), column(values.data))]
    kind = values.dtype.kind
    if kind in "biu":
        return values.tolist()
    if kind == "f":
        values = values.astype(float)
        listed = values.tolist()
        if numpy.isfinite(values).all():
            return listed
        return [v if math.isfinite(v) else None for v in listed]
    if kind == "M":
        return [None if v == "NaT" else v for v in _iso(values).tolist()] if values.size else []
    return [scalar(v) for v in values]
