"""The descriptors of this process, told apart: what is a kernel's own, and what is the user's.

A number alone proves nothing: user's code closes and opens what it likes. So what we note is compared before
it is used.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import platform
import socket
import weakref
from asyncio.selector_events import BaseSelectorEventLoop

EVENTPOLL, EVENTFD, PIDFD = "anon_inode:[eventpoll]", "anon_inode:[eventfd]", "anon_inode:[pidfd]"

loops: weakref.WeakSet[BaseSelectorEventLoop] = weakref.WeakSet()  # every asyncio loop of this process


def follow_loops() -> None:
    """Notes every asyncio loop from now on, and the running one if there is one."""
    make = BaseSelectorEventLoop._make_self_pipe

    def note(self) -> None:
        make(self)
        loops.add(self)

    BaseSelectorEventLoop._make_self_pipe = note  # type: ignore[method-assign]


def listed() -> dict[int, str]:
    """Returns what each open descriptor leads to."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink("/proc/self/fd/" + name)
        except OSError:
            pass  # the one that listed
    return found


def info(fd: int) -> list[list[str]]:
    """Returns the lines of a descriptor's fdinfo, in words."""
    with open("/proc/self/fdinfo/%d" % fd) as f:
        return [line.split() for line in f]


def number_of(fd: int) -> str:
    """Returns what tells one eventfd from another; empty on older systems."""
    return next((words[1] for words in info(fd) if words[:1] == ["eventfd-id:"]), "")


class Member:
    """A descriptor that an epoll watches."""

    def __init__(self, words: list[str]) -> None:
        self.fd = int(words[1])
        self.events = int(words[3], 16)
        self.data = int(words[5], 16)


def members(epoll: int) -> list[Member]:
    """Returns what an epoll watches."""
    return [Member(words) for words in info(epoll) if words[:1] == ["tfd:"]]


def bound(addresses: set[str], found: dict[int, str]) -> set[int]:
    """Returns the sockets, of the descriptors found, that listen at one of the addresses or came in there.

    An address is the path of a socket, or host:port. Those of zmq are in no epoll of its own for a moment.
    """
    ours = set()
    for fd, target in found.items():
        if target.startswith("socket:"):
            try:
                with socket.socket(fileno=os.dup(fd)) as s:
                    name = s.getsockname()
            except OSError:
                continue
            if ("%s:%s" % name[:2] if isinstance(name, tuple) else os.fsdecode(name)) in addresses:
                ours.add(fd)
    return ours


class _Event(ctypes.Structure):
    if platform.machine() in ("x86_64", "AMD64"):
        _pack_ = 1
    _fields_ = [("events", ctypes.c_uint32), ("data", ctypes.c_uint64)]


_libc = ctypes.CDLL(None, use_errno=True)
CTL_ADD, CLOEXEC = 1, os.O_CLOEXEC


def renew_epoll(epoll: int, watched: list[Member]) -> None:
    """Puts an epoll of this process's own in the place of one that it shares, with the same members."""
    fresh = _libc.epoll_create1(CLOEXEC)
    if fresh < 0:
        raise OSError(ctypes.get_errno(), "epoll_create1")
    for member in watched:
        event = _Event(member.events, member.data)
        _libc.epoll_ctl(fresh, CTL_ADD, member.fd, ctypes.byref(event))  # one that has been closed is no loss
    os.dup2(fresh, epoll, inheritable=False)
    os.close(fresh)


def renew_wakeup(loop: BaseSelectorEventLoop) -> None:
    """Puts a pair of sockets of this process's own in the place of those by which a loop is woken."""
    ends = socket.socketpair()
    for fresh, shared in zip(ends, (loop._ssock, loop._csock)):
        fresh.setblocking(False)
        os.dup2(fresh.fileno(), shared.fileno(), inheritable=False)
        fresh.close()


def abandon(loop: asyncio.AbstractEventLoop) -> None:
    """Closes the descriptors of a loop whose thread is gone, and touches nothing that is shared."""
    loop._selector.close()
    loop._ssock.close()
    loop._csock.close()
    loop._closed = True


def pointed(watched: list[Member]) -> bool:
    """Reports whether an epoll with these members is a native library's, which knows them by other data.

    Python's selectors, and libraries that find them by the descriptor, have it as their data.
    """
    return any(m.data & 0xFFFFFFFF != m.fd for m in watched)


class Eventfds:
    """Eventfds that are known to be ours, by descriptor."""

    def __init__(self) -> None:
        self._numbers: dict[int, str] = {}

    def note(self, before: set[int]) -> None:
        """Takes all that have come since."""
        for fd, target in listed().items():
            if target == EVENTFD and fd not in before:
                self._numbers[fd] = number_of(fd)

    def ours(self) -> set[int]:
        """Returns those that are still there."""
        return {fd for fd in self._numbers if _same(fd, self._numbers[fd])}


def _same(fd: int, number: str) -> bool:
    try:
        return os.readlink("/proc/self/fd/%d" % fd) == EVENTFD and number_of(fd) == number
    except OSError:
        return False


def eventfds(found: dict[int, str]) -> set[int]:
    """Returns the eventfds among descriptors."""
    return {fd for fd, target in found.items() if target == EVENTFD}
