"""Lists and dicts as JSON."""

from __future__ import annotations

from dskernel.values import scalar

MOST = 50_000  # values in one
DEEPEST = 64


class _TooMuch(Exception):
    pass


def as_json(obj, left: list[int] | None = None):
    """Returns a copy that JSON can hold, with how to show it; None if it is too large or holds itself.

    left is how many values it may have; what it has is taken off.
    """
    left = [MOST] if left is None else left

    def copy(value, depth: int):
        left[0] -= 1
        if left[0] < 0 or depth > DEEPEST:
            raise _TooMuch
        if isinstance(value, dict):
            return {_key(k): copy(v, depth + 1) for k, v in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [copy(v, depth + 1) for v in value]
        if type(value).__module__ == "numpy" and getattr(value, "ndim", 0):
            if value.size > left[0]:
                raise _TooMuch
            return [copy(v, depth + 1) for v in value.tolist()]
        return scalar(value)

    try:
        made = copy(obj, 0) if len(obj) <= left[0] else None
    except _TooMuch:
        made = None
    if made is None:
        return None
    return made, {"expanded": True, "e2b": True}  # the mark is for who stores only what users show


def _key(key) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bool) or key is None:
        return {True: "true", False: "false", None: "null"}[key]
    return str(scalar(key))
