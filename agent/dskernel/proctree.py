"""The processes below this one, and how to end them although they do not want to.

On Linux we are a child subreaper: when a process below us dies, its children become ours. Two things follow.
A process can't get out from under us, whatever it forks and however it calls setsid. And having no child at
all proves that nothing is left below us, which no reading of /proc could prove, since processes come and go
while it is read.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

LINUX = sys.platform.startswith("linux")
WALL = 0x40000000 if LINUX else 0  # wait for children made by any kind of clone

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None) if LINUX else None


def prctl(option: int, value) -> None:
    """Calls prctl where there is one. Each use is one defence of several, so a refusal is not fatal."""
    if _libc is not None:
        _libc.prctl(option, ctypes.c_ulong(value) if isinstance(value, int) else value, 0, 0, 0)


def become(name: str) -> None:
    """Makes this process a subreaper of that name, closed to ptrace by processes of the same user."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_DUMPABLE, 0)
    prctl(PR_SET_NAME, ctypes.c_char_p(name.encode()))


def wait_any(options: int):
    """Returns pid, status and usage of a child that changed; pid 0 if none did; None if there is none."""
    while True:
        try:
            return os.wait4(-1, options | os.WNOHANG | WALL)
        except ChildProcessError:
            return None
        except InterruptedError:
            continue


def _children_listed() -> bool:
    try:
        with open("/proc/self/task/%d/children" % os.getpid(), "rb"):
            return True
    except OSError:
        return False  # a system without procfs, or a kernel built without this file


MAX_ROUNDS = 50  # looks at what changes meanwhile
LOOKS = 3  # at a tree in which processes end
CROWD = 64  # dead processes are no accident: they are made faster than they are looked at


def _children(pid: int) -> list[int]:
    """Returns the children of a process, by those of its threads. One that ends leaves its to another."""
    found: list[int] = []
    threads = _threads(pid)
    for _ in range(LOOKS):
        for thread in threads:
            try:
                with open("/proc/%d/task/%s/children" % (pid, thread), "rb") as f:
                    found.extend(map(int, f.read().split()))
            except OSError:
                pass
        before, threads = threads, _threads(pid) if len(threads) > 1 else threads
        if set(before) <= set(threads):
            break
    return found


def _threads(pid: int) -> list[str]:
    try:
        return os.listdir("/proc/%d/task" % pid)
    except OSError:
        return []


def _stat(pid: int) -> list[bytes]:
    """Returns the fields of a process's stat from its state on; empty when it is gone."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as f:
            return f.read().rpartition(b")")[2].split()
    except OSError:
        return []


def state_of(pid: int) -> bytes:
    """Returns the letter of a process's state; empty when it is gone."""
    return b"".join(_stat(pid)[:1])


EXIT_CODE = 49  # of _stat's fields
SESSION = 3


def exit_code(pid: int) -> int | None:
    """Returns the wait status of a process that has ended and is not reaped; None when it can't be told."""
    fields = _stat(pid)
    return int(fields[EXIT_CODE]) if len(fields) > EXIT_CODE and fields[0] == b"Z" else None


def session_of(pid: int) -> int:
    """Returns the session of a process; 0 when it is gone."""
    fields = _stat(pid)
    return int(fields[SESSION]) if len(fields) > SESSION else 0


def _all_children() -> dict[int, list[int]]:
    """Returns the children of every process."""
    found: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = _stat(int(name))
            if len(fields) > 1:
                found.setdefault(int(fields[1]), []).append(int(name))
    return found


_listed: list[bool] = []  # whether the kernel lists children; asked once


def _lookup():
    """Returns a function from a process to its children, zombies among them."""
    if not _listed:
        _listed.append(_children_listed())
    return _children if _listed[0] else _all_children().get


def any_child(root: int, spare=()) -> bool:
    """Reports whether root, which is this process, has a child that is not in spare, dead or alive.

    A false is certain. As long as anything lives below us, a child of ours leads to it; and one that dies
    while we look stays on the list, as a zombie, until we reap it.
    """
    return any(pid not in spare for pid in _lookup()(root) or ())


def below(root: int, spare=()) -> dict[int, bytes]:
    """Returns the live processes below root, parents first, with the time each was started.

    Children of root that are in spare are left out, and so is all that is below them. For root's own
    children the time is empty: root alone reaps them, so their ids can't pass to others.

    The children of one that ends become root's, of which we may have asked before. So as long as a look
    meets with another dead one it is repeated: what lives all the while is found. Of a crowd that is born
    and dies all the time no look is complete; whoever ends such a one strikes again and again, and soon.
    """
    dead: set[int] = set()
    for _ in range(LOOKS):
        known = len(dead)
        found = _look(root, spare, dead)
        if len(dead) == known or len(dead) > CROWD:
            break
    return found


def _look(root: int, spare, dead: set[int]) -> dict[int, bytes]:
    """Goes down the tree once, and adds those to dead that it meets."""
    children = _lookup()
    found: dict[int, bytes] = {}
    parent_of = {pid: 0 for pid in (root, *spare)}
    todo = [root]
    for pid in todo:  # grows as we go
        for child in children(pid) or ():
            if child not in parent_of:
                parent_of[child] = pid
                todo.append(child)
        if pid == root:
            continue
        fields = _stat(pid)  # now: had it ended before its children were asked for, it would be dead
        if len(fields) <= STARTED or fields[0] in (b"Z", b"X"):
            dead.add(pid)
        else:
            found[pid] = b"" if parent_of[pid] == root else fields[STARTED]
    return found


STARTED = 19  # of _stat's fields
PARENT = 1


def is_below(pid: int, root: int) -> bool:
    """Reports whether a process is below root. One that has ended is not."""
    before: list[int] | None = None
    for _ in range(MAX_ROUNDS):
        line = _ancestors(pid, root)
        if line and line == before:  # so none of them was another's child, or another process, meanwhile
            return line[-1] == root
        before = line
    return False


def _ancestors(pid: int, root: int) -> list[int]:
    """Returns a process and those above it up to root; empty when one of them has ended meanwhile."""
    line = [pid]
    while line[-1] not in (root, 0, 1):
        fields = _stat(line[-1])
        if len(fields) <= PARENT:
            return []
        line.append(int(fields[PARENT]))
    return line


def signal_same(pid: int, started: bytes, number: int) -> None:
    """Sends a signal to the process that below() found, and to none that has its id since.

    A grandchild may be reaped by its parent at any time, so its id alone is no proof. The handle is opened
    first and the time of start compared then, so both are those of the very process.
    """
    handle = -1
    try:
        if started:
            handle = _open(pid)
            fields = _stat(pid)
            if len(fields) <= STARTED or fields[STARTED] != started:
                return
        if handle >= 0:
            try:
                signal.pidfd_send_signal(handle, number)
                return
            except ProcessLookupError:
                return
            except OSError:  # a filter of system calls, perhaps
                pass
        os.kill(pid, number)
    except OSError:
        pass
    finally:
        if handle >= 0:
            os.close(handle)


def _open(pid: int) -> int:
    """Returns a handle of a process; -1 where the system has none to give. Raises ProcessLookupError."""
    try:
        return os.pidfd_open(pid)
    except AttributeError:
        return -1
    except ProcessLookupError:
        raise
    except OSError:
        return -1


def halt(root: int, spare=()) -> dict[int, bytes]:
    """Stops what is below root, and returns it, parents first. What was born meanwhile is not stopped.

    A stopped process forks no more: however fast a fork bomb grows, each round leaves only those that were
    born during it.
    """
    halted: dict[int, bytes] = {}
    for _ in range(MAX_ROUNDS):
        fresh = {p: t for p, t in below(root, spare).items() if p not in halted}
        if not fresh:
            break
        for pid, started in fresh.items():
            signal_same(pid, started, signal.SIGSTOP)
        halted.update(fresh)
    return halted


def strike(root: int, spare=()) -> dict[int, bytes]:
    """Stops and then kills what is below root, and returns it.

    What was born meanwhile needs another strike.
    """
    struck = halt(root, spare)
    for pid, started in struck.items():
        signal_same(pid, started, signal.SIGKILL)
    return struck
