"""Tells when a process is about to be started, where Python does not."""

from __future__ import annotations

import functools
import os
import subprocess
import weakref

_told: list[weakref.WeakMethod] = []


def tell(method) -> None:
    """Has a bound method called before forks, ``os.system`` and ``subprocess``, while its object lives."""
    if not _told:
        os.register_at_fork(before=_tell)
        os.system = _telling(os.system)
        subprocess.Popen._execute_child = _telling(subprocess.Popen._execute_child)
    _told.append(weakref.WeakMethod(method))


def _tell() -> None:
    for reference in _told:
        method = reference()
        if method is not None:
            method()


def _telling(start):
    @functools.wraps(start)
    def telling(*args, **kwargs):
        _tell()
        return start(*args, **kwargs)

    return telling
