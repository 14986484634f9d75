"""Calls a function once a library is imported, without importing it."""

from __future__ import annotations

import sys

from dskernel.guard import quietly

_waiting: dict[str, list] = {}


class _Finder:
    """Finds nothing itself: it lets others find the modules waited for, and adds to their loading."""

    def find_spec(self, name, path=None, target=None):
        if name not in _waiting:
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
            return None
        try:
            spec.loader.exec_module = _executing(spec.loader, name)
        except AttributeError:  # a loader without a place for it
            return None
        return spec


def _executing(loader, name: str):
    run = loader.exec_module

    def exec_module(module) -> None:
        # Again what it was: pickle and reload see a loader of Python's.
        quietly(delattr, loader, "exec_module")
        run(module)
        for call in _waiting.pop(name, ()):  # not before: who only asks for a spec imports nothing
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
