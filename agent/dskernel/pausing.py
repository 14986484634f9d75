"""Stops what is below this process without ending it, and lets it go on."""

from __future__ import annotations

import os
import signal
import time

from proctree import LINUX, below, halt, signal_same, state_of

TYPE_CHECKING = False  # without the module, which takes long to load
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Callable

STOP_SECONDS = 2.0  # what stopping may take; a process in the midst of a system call stops after it
POLL_SECONDS = 0.001
ASLEEP = (b"T", b"t", b"Z", b"X", b"D", b"")  # states in which no code of the process runs


class Pause:
    """All below root, stopped by a control group's freezer or by signals; root too, unless we are it."""

    def __init__(self, root: int, spared: Callable[[], Collection[int]] = tuple) -> None:
        self._root, self._spared = root, spared
        self._freezer = ""
        self._stopped: dict[int, bytes] = {}  # parents first

    def stop(self, freezer: str) -> None:
        """Stops everything; freezer is the file of the group that it is all in, or empty. Raises OSError."""
        if freezer:
            self._freezer = freezer
            _set(freezer, True)
        elif LINUX:
            self._stop_each()

    def _stop_each(self) -> None:
        # What the code itself has stopped is not ours to continue.
        asleep = {
            pid for pid in (self._root, *below(self._root, self._spared())) if state_of(pid) in (b"T", b"t")
        }
        deadline = time.monotonic() + STOP_SECONDS
        while True:
            found = self._halt()
            fresh = {p: t for p, t in found.items() if p not in asleep and p not in self._stopped}
            self._stopped.update(fresh)
            while any(state_of(p) not in ASLEEP for p in fresh) and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
            # Only when all have really stopped can a look find none that was born meanwhile.
            if not fresh or time.monotonic() >= deadline:
                return

    def _halt(self) -> dict[int, bytes]:
        own: dict[int, bytes] = {}
        if self._root != os.getpid():
            own = {p: t for p, t in below(os.getpid()).items() if p == self._root}
            for pid, started in own.items():
                signal_same(pid, started, signal.SIGSTOP)
        return {**own, **halt(self._root, self._spared())}

    def go(self) -> None:
        """Lets everything go on that stop() stopped. It may be called at any time. Raises OSError."""
        self.thaw()
        # Children first: a parent that wakes must not find them stopped.
        stopped, self._stopped = self._stopped, {}
        for pid, started in reversed(list(stopped.items())):
            signal_same(pid, started, signal.SIGCONT)

    def thaw(self) -> None:
        """Thaws the group: what is frozen does not even die. Raises OSError."""
        if self._freezer:
            freezer, self._freezer = self._freezer, ""
            _set(freezer, False)


def _set(freezer: str, frozen: bool) -> None:
    """Writes to the freezer and, when it freezes, waits until it has."""
    first = os.path.basename(freezer) == "freezer.state"
    with open(freezer, "w") as f:
        f.write(("FROZEN" if frozen else "THAWED") if first else "%d" % frozen)
    deadline = time.monotonic() + STOP_SECONDS
    while frozen and time.monotonic() < deadline:
        told = freezer if first else os.path.join(os.path.dirname(freezer), "cgroup.events")
        with open(told) as f:
            if ("FROZEN\n" if first else "frozen 1\n") in f.read():
                return
        time.sleep(POLL_SECONDS)
