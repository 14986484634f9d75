"""Owns the processes of sandboxes, so that none outlives them.

Run by the engine as ``python -I -S -B supervisor.py`` with a control socket as descriptor 3; README.md
beside this file describes the wire. One supervisor serves an engine. For each sandbox it forks a keeper,
which is the parent of that sandbox's kernels and commands. Both are child subreapers: whatever double-forks
or calls setsid stays below its keeper, and below the supervisor when the code in a sandbox kills the keeper
above it.

Standard library only, one thread, few imports: this starts in front of the first kernel.
"""

from __future__ import annotations

import fcntl
import gc
import os
import signal
import socket
import sys
import time

# Isolated mode leaves our own folder off the path. At its end, so that the standard library comes first.
sys.path.append(os.path.dirname(os.path.abspath(__file__)))

from keeper import KILL_SECONDS, Keeper  # noqa: E402
from proctree import LINUX, any_child, become, strike, wait_any  # noqa: E402
from spawn import OURS, close_inherited  # noqa: E402
from wire import BadRequest, Channel, Server, until  # noqa: E402

CONTROL_FD = 3
END_SECONDS = 1.5  # what keepers get to end by themselves
SWEEP_FIRST, SWEEP_LAST = 0.002, 1.0  # pauses between two blows at strays that do not die, seconds


class Supervisor(Server):
    """Forks keepers, and ends what a dead keeper leaves behind."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel)
        self._keepers: set[int] = set()
        self._calm = self.patience
        # The keepers hold the end to read, and we alone the end to write: it ends when we do, however we do.
        self._lifeline = os.pipe()
        self._orphaned = False  # a keeper has died, so its processes may be ours now

    def run(self) -> None:
        """Serves until the host is gone, then ends everything."""
        try:
            self.serve()
        finally:
            self.channel.gone = True
            self._end()

    def handle(self, message: dict, fds: list[int]) -> dict | None:
        if message.get("op") != "keep" or len(fds) != 1:
            raise BadRequest("unknown op, or not one descriptor")
        try:
            return {"pid": self._keep(fds[0])}
        except OSError as e:
            return {"error": "fork: " + os.strerror(e.errno), "errno": e.errno, "stage": "fork"}

    def _keep(self, fd: int) -> int:
        pid = os.fork()
        if pid == 0:
            try:
                _become_keeper(fd, self._lifeline[0])
            finally:
                os._exit(0)
        self._keepers.add(pid)
        return pid

    def reap(self) -> None:
        """Collects what has ended, and strikes at strays as long as there are any."""
        self._collect()
        if self._orphaned and LINUX:
            strike(os.getpid(), self._keepers)
            self._orphaned = any_child(os.getpid(), self._keepers)  # no reaping between these two
        if self._orphaned:
            # What does not die, a program of another user for one, must not keep us busy.
            self.patience = min(max(self.patience * 2, SWEEP_FIRST), SWEEP_LAST)
        else:
            self.patience = self._calm

    def _collect(self) -> bool:
        """Reaps; returns whether any child is left."""
        while True:
            changed = wait_any(os.WUNTRACED)
            if changed is None or changed[0] == 0:
                return changed is not None
            pid, status, _ = changed
            if os.WIFSTOPPED(status):
                # The code in a sandbox can stop its keeper, but not for long.
                if pid in self._keepers:
                    os.kill(pid, signal.SIGCONT)
            elif pid in self._keepers:
                self._keepers.discard(pid)
                self._orphaned, self.patience = True, 0
                self.channel.send({"event": "keeper_exit", "pid": pid})

    def _end(self) -> None:
        """Tells the keepers, gives them time, and then ends whatever is left."""
        os.close(self._lifeline[1])

        def strike_strays() -> None:
            if LINUX:
                strike(os.getpid(), self._keepers)

        def strike_all() -> None:
            for pid in self._keepers:
                os.kill(pid, signal.SIGKILL)
            if LINUX:
                strike(os.getpid())

        until(time.monotonic() + END_SECONDS, lambda: not self._collect(), strike_strays)
        until(time.monotonic() + KILL_SECONDS, lambda: not self._collect(), strike_all)


def _become_keeper(fd: int, lifeline: int) -> None:
    os.setsid()
    signal.set_wakeup_fd(-1)
    become("ds-keeper")
    # By way of high numbers, for either may have the other's place.
    for high, place in [(fcntl.fcntl(f, fcntl.F_DUPFD_CLOEXEC, 10), p) for f, p in ((fd, 3), (lifeline, 4))]:
        os.dup2(high, place, inheritable=False)
    os.closerange(5, OURS)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)
    Keeper(Channel(socket.socket(fileno=3)), 4).run()


def main() -> None:
    """Serves the socket at descriptor 3."""
    try:
        os.setsid()
    except OSError:
        pass  # a leader already
    become("ds-supervisor")
    close_inherited(CONTROL_FD + 1)
    os.set_inheritable(CONTROL_FD, False)
    channel = Channel(socket.socket(fileno=CONTROL_FD))
    gc.collect()
    gc.freeze()  # keepers share these pages as long as no collection writes to them
    Supervisor(channel).run()


if __name__ == "__main__":
    main()
