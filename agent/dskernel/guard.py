"""Objects of the user's are asked here, and may answer with anything."""

from __future__ import annotations


def quietly(function, *args):
    """Returns what the function returns, or None if it raises anything but the user's interrupt."""
    try:
        return function(*args)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: B036 - an object's method may raise SystemExit, which would end the kernel
        return None
