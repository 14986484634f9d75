"""Loads the debugger on its first use: debugpy is a quarter of a kernel's start, and few runs are debugged.

Importing this module puts a stand-in for ``ipykernel.debugger`` in place; import it before ipykernel's
kernel.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types

import ipykernel
from tornado.locks import Event

NAME = "ipykernel.debugger"


class DeferredDebugger:
    """Stands in for a Debugger until a request needs one. Belongs to the thread of the control channel."""

    def __init__(self, *args, **kwargs) -> None:
        self._arguments = args, kwargs
        self._debugger = None
        self._made = Event()

    async def process_request(self, message):
        """Processes a debug_request."""
        return await self._make().process_request(message)

    async def handle_stopped_event(self):
        """Waits for the debugged code to stop, which it does not before there is a debugger."""
        await self._made.wait()
        return await self._make().handle_stopped_event()

    def __getattr__(self, name: str):
        return getattr(self._make(), name)

    def _make(self):
        if self._debugger is None:
            args, kwargs = self._arguments
            self._debugger = load().Debugger(*args, **kwargs)
            self._made.set()
        return self._debugger


def load() -> types.ModuleType:
    """Returns the real module, from now on in its place."""
    if sys.modules.get(NAME) is STAND_IN:
        del sys.modules[NAME]
    try:
        return importlib.import_module(NAME)
    except BaseException:
        sys.modules.setdefault(NAME, STAND_IN)
        raise


def _other(name: str):
    if name.startswith("__"):
        raise AttributeError(name)
    return getattr(load(), name)


STAND_IN = types.ModuleType(NAME, "Stands in for the module of ipykernel until it is needed.")
STAND_IN.Debugger = DeferredDebugger  # type: ignore[attr-defined]
STAND_IN._is_debugpy_available = importlib.util.find_spec("debugpy") is not None  # type: ignore[attr-defined]
STAND_IN.__getattr__ = _other  # type: ignore[method-assign]

if NAME not in sys.modules:
    sys.modules[NAME] = STAND_IN
    ipykernel.debugger = STAND_IN
