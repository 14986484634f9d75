"""Calls a function once a library is imported, without importing it."""

from __future__ import annotations

import sys

from dskernel.guard import quietly

_waiting: dict[str, list] = {}


class _Finder:
    """Finds nothing itself: it lets the others find the modules waited for, and adds to how they are loaded."""

    def find_spec(self, name, path=None, target=None):
        calls = _waiting.pop(name, None)
        if calls is None:
            return None
        spec = None
        for finder in list(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            if finder is self or find is None:
                continue
            spec = find(name, path, target)
            if spec is not None:
                break
        if spec is None or not hasattr(spec.loader, "exec_module"):
            _waiting[name] = calls  # it may be installed later
            return None
        try:
            spec.loader.exec_module = _executing(spec.loader, calls)
        except AttributeError:  # a loader without a place for it
            return None
        return spec


def _executing(loader, calls: list):
    run = loader.exec_module

    def exec_module(module) -> None:
        # Again what it was: pickle and reload see a loader of Python's.
        quietly(delattr, loader, "exec_module")
        run(module)
        for call in calls:
            quietly(call)

    return exec_module


_finder = _Finder()


def when_imported(name: str, call) -> None:
    """Calls once the module of that name has been imported; now, if it is."""
    if name in sys.modules:
        quietly(call)
        return
    _waiting.setdefault(name, []).append(call)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
