"""The values that a glyph of bokeh is drawn from."""

from __future__ import annotations

from dskernel.values import scalar


def values(renderer, name: str):
    """Returns the values of a property of a glyph: a column of its source, a stack of some, or one value."""
    value = getattr(renderer.glyph, name)
    columns = renderer.data_source.data
    stack = getattr(value, "expr", None)
    if stack is not None:
        return _stack(stack, columns)
    field = getattr(value, "field", value)
    if isinstance(field, str):
        return plain(columns[field])
    count = max((len(c) for c in columns.values()), default=1)
    return [getattr(value, "value", value)] * count


def plain(column):
    """Returns a column as a list or an array, whose slices know nothing of pandas' index."""
    return column.to_numpy() if hasattr(column, "to_numpy") else column


def _stack(stack, columns):
    """Adds columns as Stack does; other expressions are known in the browser only."""
    if type(stack).__name__ != "Stack":
        raise ValueError("computed where it is drawn")
    if not stack.fields:
        return [0] * max((len(c) for c in columns.values()), default=0)
    import numpy

    total = numpy.zeros(len(columns[stack.fields[0]]))
    for field in stack.fields:
        total = total + numpy.asarray(columns[field], dtype=float)
    return total


def label(value) -> str:
    """Names a place on an axis; factors of several levels are tuples."""
    if isinstance(value, (tuple, list)):
        return ", ".join(map(label, value))
    value = scalar(value)
    return "%g" % value if isinstance(value, float) else str(value)
