"""The forks of a copy of a kernel that waits: those that became kernels, and one that is to be the next."""

from __future__ import annotations

import os
import select
import signal
import socket
import time

LOOK_SECONDS = 1.0  # between looks whether the host has given a copy up, and after the end of a fork of it
TAKE_SECONDS = 5.0  # that a fork which waits may need to take its order, on a machine that stalls
TAKEN = b"1"
MAX_ORDER = 1 << 20


class Forks:
    """The forks of a copy, which it reaps a moment after the keeper could see how they ended."""

    def __init__(self) -> None:
        self._alive: dict[int, int] = {}  # processes, by the descriptors that tell of their end
        self._ended: dict[int, float] = {}  # when to reap those that have ended

    def add(self, pid: int) -> None:
        """Takes a process."""
        self._alive[os.pidfd_open(pid)] = pid

    def close(self) -> None:
        """Forgets them, as a fork does."""
        for handle in self._alive:
            os.close(handle)
        self._alive, self._ended = {}, {}

    def wait(self, listener: socket.socket, wanted: bool, idle: float | None) -> bool:
        """Waits for a connection, at most for the seconds that are given, and reports whether there is one.

        Raises FileNotFoundError when the copy was not wanted yet and never will be.
        """
        poller = select.poll()
        poller.register(listener, select.POLLIN)
        for handle in self._alive.keys() - self._ended.keys():
            poller.register(handle, select.POLLIN)
        now = time.monotonic()
        until = None if idle is None else now + idle
        while True:
            ends = list(self._ended.values()) + ([] if until is None else [until])
            ends += [] if wanted else [now + LOOK_SECONDS]
            ready = {fd for fd, _ in poller.poll(max(0, 1000 * (min(ends) - now)) if ends else None)}
            now = time.monotonic()
            for handle in ready & self._alive.keys():
                self._ended[handle] = now + LOOK_SECONDS
                poller.unregister(handle)
            self._reap(now)
            if listener.fileno() in ready:
                return True
            if until is not None and now >= until:
                return False
            if not wanted:
                os.lstat(listener.getsockname())

    def _reap(self, now: float) -> None:
        for handle in [handle for handle, end in self._ended.items() if end <= now]:
            del self._ended[handle]
            os.waitpid(self._alive.pop(handle), os.WNOHANG)
            os.close(handle)


class Standby:
    """A fork of a copy that waits for the next order with ``stay``, which needs no fork then.

    It ends with the copy. There is none before the first such order: who has gone back to a place goes back
    again.
    """

    def __init__(self) -> None:
        self._wished = False
        self._pid = 0
        self._socket: socket.socket | None = None

    def missed(self) -> bool:
        """Reports whether there should be one, and is none."""
        return self._wished and not self._pid

    def fork(self) -> bool:
        """Makes it, if that can be; reports whether this process is it."""
        given, taken = socket.socketpair()
        try:
            pid = os.fork()
        except OSError:  # there is no room for one
            self._wished = False
            given.close()
            taken.close()
            return False
        if pid == 0:
            given.close()
            self._socket = taken
            return True
        taken.close()
        given.settimeout(TAKE_SECONDS)
        self._pid, self._socket = pid, given
        return False

    def take_over(self) -> tuple[bytes, list[int]]:
        """Waits for an order, and returns it with its descriptors; raises ValueError when none will come."""
        assert self._socket is not None
        with self._socket as s:
            taken = receive_line(s)
            s.sendall(TAKEN)
            return taken

    def give(self, line: bytes, descriptors: list[int]) -> int:
        """Hands an order over, and returns the process that has it; 0 if there is none."""
        self._wished = True
        if not self._pid or self._socket is None:
            return 0
        try:
            sent = socket.send_fds(self._socket, [line], descriptors)
            self._socket.sendall(line[sent:])
            if self._socket.recv(1) != TAKEN:
                raise EOFError
        except (OSError, EOFError):
            self.dismiss()
            return 0
        pid, self._pid = self._pid, 0
        self._socket.close()
        return pid

    def dismiss(self) -> None:
        """Ends it."""
        if self._pid and self._socket is not None:
            self._socket.close()
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0


def receive_line(source: socket.socket) -> tuple[bytes, list[int]]:
    """Returns a line, and the descriptors that came with it."""
    line, fds = b"", []
    while not line.endswith(b"\n"):
        piece, came, _, _ = socket.recv_fds(source, 1 << 16, 2)
        fds += came
        line += piece
        if not piece or len(line) > MAX_ORDER:
            raise ValueError("no whole line")
    return line, fds
