"""Tables of pandas and polars as data.

The form ``e2b/data`` is a dict of column to values, as E2B's clients know it. What else there is to say is in
the metadata of that form: ``columns`` in order with their ``dtype``, ``shape`` (true rows and columns),
``rows`` (how many of them are here), and pandas' ``index`` unless it only counts.
"""

from __future__ import annotations

from dskernel.values import column, scalar, text

ROWS = 10_000
COLUMNS = 1_000
CELLS = 100_000
CELL = 1_000  # values in one cell


def frame(df) -> tuple[dict, dict]:
    """A pandas DataFrame: its first rows and columns."""
    rows, columns = df.shape
    cut = df.iloc[: _rows(rows, columns), :COLUMNS]
    series = [cut.iloc[:, i] for i in range(cut.shape[1])]
    names = [_name(n) for n in cut.columns]
    return _table(names, series, (rows, columns), len(cut), _index(cut.index))


def series(s) -> tuple[dict, dict]:
    """A pandas Series: a table of one column."""
    cut = s.iloc[:ROWS]
    return _table([_name(s.name, "0")], [cut], (len(s), 1), len(cut), _index(cut.index))


def index(values) -> tuple[dict, dict]:
    """A pandas Index: a table of one column, or of its levels."""
    if values.nlevels == 1:
        cut = values[:ROWS]
        return _table([_name(values.name, "0")], [cut], (len(values), 1), len(cut), None)
    cut = values[: _rows(len(values), values.nlevels)]
    levels = [cut.get_level_values(i) for i in range(values.nlevels)]
    names = [_name(n, str(i)) for i, n in enumerate(values.names)]
    return _table(names, levels, (len(values), values.nlevels), len(cut), None)


def polars_frame(df) -> tuple[dict, dict]:
    """A polars DataFrame: its first rows and columns."""
    rows, columns = df.shape
    cut = df[: _rows(rows, columns), :COLUMNS]
    return _table(list(cut.columns), cut.get_columns(), (rows, columns), cut.height, None)


def polars_series(s) -> tuple[dict, dict]:
    """A polars Series: a table of one column."""
    cut = s[:ROWS]
    return _table([s.name or "0"], [cut], (len(s), 1), len(cut), None)


def _rows(rows: int, columns: int) -> int:
    return min(rows, ROWS, CELLS // max(1, min(columns, COLUMNS)))


def _table(names: list[str], columns: list, shape: tuple, rows: int, index) -> tuple[dict, dict]:
    names = _distinct(names)
    data = {name: _values(values) for name, values in zip(names, columns)}
    about = {
        "columns": [{"name": name, "dtype": str(values.dtype)} for name, values in zip(names, columns)],
        "shape": list(shape),
        "rows": rows,
    }
    if index is not None:
        about["index"] = index
    return data, about


def _values(values) -> list:
    kind = getattr(values.dtype, "kind", "O")  # polars' types have none
    if kind in "biufM" and getattr(values.dtype, "tz", None) is None and hasattr(values, "to_numpy"):
        if getattr(values, "hasnans", False) and kind in "biu":  # pandas' own integers, with gaps
            return column(list(values))
        return column(values.to_numpy())
    dtype = str(values.dtype)
    if dtype.startswith("Datetime(time_unit='ns'") and "time_zone=None" in dtype:  # Python's dates have less
        return column(values.to_numpy())
    room = [CELLS]
    return [_cell(v, room) for v in values.to_list()]


def _cell(value, room: list[int]):
    """Returns a value of a table; lists and structs as JSON, if they are not too large."""
    if isinstance(value, (list, tuple, set, dict)) or getattr(value, "ndim", 0):
        from dskernel.plain import as_json

        left = [min(CELL, room[0])]
        made = as_json(value, left)
        room[0] -= min(CELL, room[0]) - max(0, left[0])
        return text(str(value)) if made is None else made[0]
    return scalar(value)


def _index(values):
    """Describes the index by the columns it would be, or as None if it only counts from 0."""
    if (
        type(values).__name__ == "RangeIndex"
        and values.start == 0
        and values.step == 1
        and values.name is None
    ):
        return None
    if values.nlevels == 1 and values.name is None:
        values = values.rename("index")  # as pandas' reset_index calls it
    data, about = index(values)
    return [{**c, "values": data[c["name"]]} for c in about["columns"]]


def _name(name, without: str = "None") -> str:
    if name is None:
        return without
    if isinstance(name, tuple):
        return ", ".join(_name(part) for part in name)
    return text(str(name))


def _distinct(names: list[str]) -> list[str]:
    """Numbers names that come again, as pandas does when it reads them: a, a.1."""
    seen: set[str] = set()
    out = []
    for name in names:
        new, n = name, 0
        while new in seen:
            n += 1
            new = "%s.%d" % (name, n)
        seen.add(new)
        out.append(new)
    return out
