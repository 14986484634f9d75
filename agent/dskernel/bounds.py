"""What a program is started with so that it stays within its sandbox's limits."""

from __future__ import annotations

import os
import resource


class Bounds:
    """Control groups to join, and limits of the process itself."""

    def __init__(self, message: dict | None) -> None:
        """Reads the ``limits`` of a start. Raises ValueError, TypeError or AttributeError."""
        message = message or {}
        self._groups = [os.fsencode(g) for g in message.get("groups") or ()]
        self._rlimits = {_number(name): int(n) for name, n in (message.get("rlimits") or {}).items()}

    def apply(self) -> None:
        """Binds the calling process and all that it will start. Raises OSError."""
        for group in self._groups:
            _write(group, b"0")
        for number, most in self._rlimits.items():
            hard = resource.getrlimit(number)[1]
            if hard != resource.RLIM_INFINITY:
                most = min(most, hard)
            try:
                resource.setrlimit(number, (most, most))
            except ValueError as e:
                raise OSError(22, str(e)) from e


def _number(name: str) -> int:
    if not name.startswith("RLIMIT_"):
        raise ValueError("no limit of a process: %r" % name)
    return getattr(resource, name)


def _write(path: bytes, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)
