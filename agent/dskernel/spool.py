"""Text on its way out, written at the cost of Python's own streams."""

from __future__ import annotations

import io
import sys
from collections import deque


class _Pieces:
    """The binary stream that a text stream writes to: a queue. No code of Python's runs in a write."""

    closed = False

    def __init__(self) -> None:
        self.queue: deque[bytes] = deque()
        self.write = self.queue.append
        self.flush = int  # callable without arguments, and not in Python

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        """Does nothing: the text stream closes us when it is collected."""


class Spool:
    """Collects text. ``put(text)`` appends.

    ``put`` is a method of C, and so is what it calls: neither another thread nor an interrupt comes between
    its parts, it needs no lock, and a string that it took is not lost. What it took is packed once it is
    8 KiB.
    """

    def __init__(self) -> None:
        self._pieces = _Pieces()
        # Whatever a string holds comes out again, half a surrogate pair too.
        self._text = io.TextIOWrapper(self._pieces, "utf-8", "surrogatepass", newline="")  # type: ignore
        self.put = self._text.write

    def take(self) -> str:
        """Returns what was put and takes it out. One caller at a time."""
        self._text.flush()
        queue = self._pieces.queue
        if not queue:
            return ""
        return b"".join([queue.popleft() for _ in range(len(queue))]).decode("utf-8", "surrogatepass")

    def size(self) -> int:
        """Returns how many bytes wait."""
        self._text.flush()
        return sum(map(len, tuple(self._pieces.queue)))

    def lent(self) -> int:
        """Returns how many references to ``put`` there are beside our own, or 0 where nobody counts them."""
        return sys.getrefcount(self.put) - 2 if hasattr(sys, "getrefcount") else 0
