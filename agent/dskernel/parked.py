"""A copy of a kernel that waits: no threads, a few descriptors, one socket by which the host wakes it.

A connection brings one line of JSON:

    {"op": "keep"}

    {"op": "wake", "connection": FILE, "stay": true, "random": "keep", "cwd": FOLDER,
     "restored": false, "moved": [[OLD, NEW]], "env": {NAME: VALUE}}

The latter may bring a descriptor for what the kernel writes to its own standard output and error. The
process, or with ``stay`` a fork of it, becomes a kernel with the ports and the key of the connection file and
answers ``{"pid", "generation"}`` once its sockets are bound, or ``{"error"}``.

What is forked belongs to nobody until the host says so, and ends by itself when the host gives it up. A copy
that waits is the host's from the first connection on, for which keep is enough; before, the host gives it up
by removing its socket. A kernel is the host's when that has answered its answer with another line; the host
gives it up by closing the connection.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import socket
import sys
from collections.abc import Iterable
from typing import NoReturn

from dskernel.standby import Forks, Standby, receive_line

ORDER_SECONDS = 5.0  # that a connection may take to bring its line
STANDBY_AFTER = 0.05  # seconds without an order before there is a fork for the next
MAX_UNNAMED = 64 << 20  # bytes of files without a name that are copied; with more, all of them stay shared
# Flags that are about opening alone.
OPENING = os.O_CREAT | os.O_EXCL | os.O_TRUNC | os.O_TMPFILE | os.O_NOFOLLOW
LEFT = 1  # exit code of a copy that could not become a kernel


class Order:
    """What a connection asks for. It has the connection until the answer."""

    def __init__(self, connection: socket.socket, line: bytes, output: int) -> None:
        wanted = json.loads(line)
        if wanted.get("op") != "wake":
            raise ValueError("unknown op")
        self.line = line
        self._socket = connection
        self.output = output
        self.connection = str(wanted["connection"])
        self.stay = wanted.get("stay") is True
        self.restored = wanted.get("restored") is True
        self._fresh = wanted.get("random") == "fresh"
        self._cwd = wanted.get("cwd")
        self._moved = [(str(old), str(new)) for old, new in wanted.get("moved") or ()]
        self._env = wanted.get("env") or {}

    def answer(self, content: dict) -> None:
        """Answers, and returns when this process is the host's; raises when the host has given it up."""
        self._socket.settimeout(ORDER_SECONDS)
        self._socket.sendall(json.dumps(content).encode() + b"\n")
        if "pid" in content:
            self._socket.settimeout(None)
            if not self._socket.recv(1):
                raise EOFError("nobody wants this kernel")
        self.close()

    def close(self) -> None:
        """Ends the connection of this process."""
        self._socket.close()
        if self.output >= 0:
            os.close(self.output)
            self.output = -1

    def descriptors(self) -> list[int]:
        """Returns the connection, and the output if there is one."""
        return [self._socket.fileno()] + ([self.output] if self.output >= 0 else [])

    def settle(self) -> None:
        """Makes the process live where the order says."""
        for old, new in self._moved:
            _move(old, new)
        os.environ.update(self._env)
        if self._cwd:
            os.chdir(self._cwd)

    def seed(self, state) -> None:
        """Gives the process the random numbers that would have come next, or others."""
        if self._fresh:
            _reseed()
        else:
            random.setstate(state)  # Python has seeded it anew

    def place(self, path: str) -> str:
        """Returns where a file is for this process."""
        for old, new in self._moved:
            path = moved(path, old, new)
        return path


def moved(path: str, old: str, new: str) -> str:
    """Returns a path with one folder for another."""
    return new + path[len(old) :] if path == old or path.startswith(old + "/") else path


def _move(old: str, new: str) -> None:
    try:
        here = os.getcwd()
    except OSError:  # removed meanwhile
        here = old
    if moved(here, old, new) != here:
        try:
            os.chdir(moved(here, old, new))
        except OSError:
            os.chdir(new)
    for name, value in list(os.environ.items()):
        if old in value:
            os.environ[name] = os.pathsep.join(moved(part, old, new) for part in value.split(os.pathsep))
    sys.path[:] = [moved(p, old, new) if isinstance(p, str) else p for p in sys.path]


def _reseed() -> None:
    random.seed()
    for name in ("numpy.random", "torch"):
        module = sys.modules.get(name)
        if module is not None:
            module.seed()


def listen(path: str) -> socket.socket:
    """Makes the socket by which this process is woken."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    os.chmod(path, 0o600)
    listener.listen(16)
    return listener


def wait(listener: socket.socket, files: dict[int, str]) -> Order:
    """Waits until this process, or a fork of it, is to be a kernel; there it returns.

    Files are those that are open, with the names they had.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    forks, standby, wanted = Forks(), Standby(), False
    while True:
        if not forks.wait(listener, wanted, STANDBY_AFTER if standby.missed() else None):
            if standby.fork():
                listener.close()
                forks.close()
                line, fds = standby.take_over()
                order = Order(socket.socket(fileno=fds[0]), line, fds[1] if len(fds) > 1 else -1)
                break
            continue
        connection = listener.accept()[0]
        wanted = True
        try:
            order = _receive(connection)
            if order is None:
                continue
            pid = (standby.give(order.line, order.descriptors()) or os.fork()) if order.stay else 0
        except (OSError, ValueError, KeyError, TypeError) as e:
            _refuse(connection, e)
            continue
        if pid == 0:
            break
        order.close()
        forks.add(pid)
    listener.close()
    forks.close()
    if order.stay:
        os.setsid()
    else:
        standby.dismiss()
    own_offsets(files, order)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return order


def _receive(connection: socket.socket) -> Order | None:
    """Returns what a connection asks for; None if that is nothing, and the connection is over."""
    connection.settimeout(ORDER_SECONDS)
    line, came = receive_line(connection)
    if json.loads(line).get("op") == "keep":
        connection.close()
        return None
    return Order(connection, line, came[0] if came else -1)


def _refuse(connection: socket.socket, reason: Exception) -> None:
    try:
        connection.sendall(json.dumps({"error": str(reason)}).encode() + b"\n")
    except OSError:
        pass
    connection.close()


def named(files: list[int]) -> dict[int, str]:
    """Returns descriptors with the names of their files."""
    return {fd: os.readlink("/proc/self/fd/%d" % fd) for fd in files}


def own_offsets(files: dict[int, str], order: Order | None = None) -> None:
    """Opens files again, so that the place where one is read or written is this process's own.

    Of files without a name, which are nobody else's by now, the content becomes its own too.
    """
    copies = _copy_unnamed(files)
    for fd, name in files.items():
        try:
            flags = fcntl.fcntl(fd, fcntl.F_GETFL) & ~OPENING
            offset = os.lseek(fd, 0, os.SEEK_CUR)
            fresh = os.open(_where(fd, name, copies, order), flags | os.O_CLOEXEC)
            os.lseek(fresh, offset, os.SEEK_SET)
            os.dup2(fresh, fd, inheritable=os.get_inheritable(fd))
            os.close(fresh)
        except OSError:
            pass  # it stays shared
    for copy in copies.values():
        os.close(copy)


def _where(fd: int, name: str, copies: dict[tuple[int, int], int], order: Order | None) -> str:
    """Returns what to open in the place of a descriptor."""
    link = "/proc/self/fd/%d" % fd
    if order is not None:
        place = order.place(name if order.restored else os.readlink(link))
        if (place != name or order.restored) and os.path.isfile(place):
            return place
    copy = copies.get(_identity(os.fstat(fd)))
    return link if copy is None else "/proc/self/fd/%d" % copy


def _identity(state: os.stat_result) -> tuple[int, int]:
    return state.st_dev, state.st_ino


def _copy_unnamed(files: Iterable[int]) -> dict[tuple[int, int], int]:
    """Returns copies of the files that have no name, by what they are copies of."""
    found = {}
    for fd in files:
        state = os.fstat(fd)
        if not state.st_nlink:
            found[_identity(state)] = fd, state.st_size
    if sum(size for _, size in found.values()) > MAX_UNNAMED:
        return {}
    copies = {}
    for identity, (fd, size) in found.items():
        try:
            source = os.open("/proc/self/fd/%d" % fd, os.O_RDONLY | os.O_CLOEXEC)
            copies[identity] = _unnamed_like(fd)
            at = 0
            while at < size:
                at += os.sendfile(copies[identity], source, at, size - at) or size
            os.close(source)
        except OSError:
            continue
    return copies


def _unnamed_like(fd: int) -> int:
    """Makes a file without a name, in the same folder if there is one."""
    folder = os.path.dirname(os.readlink("/proc/self/fd/%d" % fd))
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        return os.memfd_create("copy", os.MFD_CLOEXEC)


def give_up(write: int, order: Order | None, reason: BaseException) -> NoReturn:
    """Tells whoever listens why this copy ends, and ends it without a trace in the original."""
    text = "%s: %s" % (type(reason).__name__, reason)
    try:
        if order is None:
            os.write(write, text.encode("utf-8", "replace")[:4000])
        else:
            order.answer({"error": text})
    except OSError:
        pass
    os._exit(LEFT)
