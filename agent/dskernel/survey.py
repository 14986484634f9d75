"""Finds what a copy of this process would not have, before one is made.

What would leave the copy broken is a refusal; what it shares or lacks, and can live with, a warning. Both are
in words for whoever asked for the copy.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import socket
import stat
import sys
import threading
import time

from dskernel import plumbing
from dskernel.parked import MAX_UNNAMED

CALM = 1.0  # seconds that the threads of a pool may go on looking for work after the last there was
POOL = "concurrent.futures.thread"
QUIET = ("tqdm._monitor", "zmq.utils.garbage")  # modules whose threads are made again when they are missed
# Libraries whose threads outlive a fork of the process, but that start others in a copy: the LLVM's and
# Intel's OpenMP, which MKL uses too, and Arrow. Others end theirs before a fork, as OpenBLAS does.
POOLED = re.compile(r"libomp|libiomp|mkl_|libarrow")
# Lines of /proc/self/maps: of libraries, and of memory that is shared and writable; some of that is nobody's.
LIBRARY = re.compile(r"^\S+ (?!rw-s)\S+ \S+ \S+ \S+ +(\S.*\.so.*)$", re.M)
SHARED = re.compile(r"^\S+ rw-s \S+ \S+ \S+ *(.*)$", re.M)
OURS = ("/dev/shm/sem.", "/dev/dri", "anon_inode:")
RENEWED = ("jemalloc_bg_thd", "ZMQbg")  # names of threads that are started again


class Survey:
    """What was found."""

    def __init__(self) -> None:
        self.refusals: list[str] = []
        self.warnings: list[str] = []
        self.files: list[int] = []  # descriptors of regular files
        self.strangers: dict[int, str] = {}  # native threads that are none of Python's, by number
        self._libraries: set[str] = set()

    def miss(self) -> None:
        """Warns of native threads that the copy lacks, after the fork: many end before it by themselves."""
        lost = [comm for number, comm, _ in _strangers(set()) if self.strangers.get(number) == comm]
        # What a pool has is known by its size alone: threads are named for the process.
        pooled = [path for path in self._libraries if POOLED.search(os.path.basename(path))]
        pools = sum(map(_pool_size, pooled))
        if len(lost) > pools:
            listed = ", ".join(sorted(lost)[:5])
            self.warnings.append("threads of native libraries don't come along: " + listed)


def survey(kernel, plant, own_children: set[int]) -> Survey:
    """Looks at everything that is not the plant's own. It takes a few milliseconds."""
    found = Survey()
    # Once: what is opened while we look is by threads of the kernel, as others are refused.
    listed = plumbing.listed()
    own_fds = plant.descriptors(listed)
    libraries, shared = _maps()
    found._libraries = libraries
    pause_openmp(libraries)
    _loops(found, kernel)
    _threads(found, plant.threads())
    _descriptors(found, listed, own_fds)
    if shared:
        found.warnings.append("memory that is shared and writable stays shared: " + ", ".join(shared[:5]))
    children = _children() - own_children
    if children:
        listed = ", ".join("%d (%s)" % (pid, _name(pid)) for pid in sorted(children)[:5])
        found.warnings.append("child processes belong to the original alone: " + listed)
    return found


def _loops(found: Survey, kernel) -> None:
    loop = asyncio.get_running_loop()
    if kernel.eventloop is not None:
        found.refusals.append("the event loop of a graphical interface is running")
    if loop not in plumbing.loops:
        found.refusals.append("the kernel runs on an event loop of another kind: " + type(loop).__module__)
    if getattr(kernel.parent, "trio_loop", False):
        found.refusals.append("the kernel runs on a trio loop")
    if _debugging(kernel):
        found.refusals.append("a debugger is attached")
    thread = getattr(kernel, "shell_channel_thread", None)
    if thread is not None and thread.manager.list_subshell():
        found.refusals.append("the kernel has subshells")


def _debugging(kernel) -> bool:
    debugger = kernel.__dict__.get("debugger")
    return debugger is not None and bool(debugger.__dict__.get("is_started"))


def executors() -> list:
    """Returns the thread pools of concurrent.futures whose threads live."""
    pools = sys.modules.get(POOL)
    found = {}
    for thread in list(getattr(pools, "_threads_queues", ())):
        # The first argument of a worker, or of its context, is a weak reference to the pool.
        args = getattr(thread, "_args", None) or ()
        pool = args[0]() if args and thread.is_alive() else None
        if pool is not None:
            found[id(pool)] = pool
    return list(found.values())


def _idle(pool) -> bool:
    return pool._work_queue.empty() and pool._idle_semaphore._value >= len(pool._threads)


def _threads(found: Survey, own: set[threading.Thread]) -> None:
    idle = {thread for pool in executors() if _idle(pool) for thread in pool._threads}
    running = threading.enumerate()
    for thread in running:
        kind = type(thread)
        if thread in own or thread in idle or thread is threading.main_thread() or kind.__module__ in QUIET:
            continue
        found.refusals.append("a thread is running: %s (%s)" % (thread.name, kind.__qualname__))
    # The number of the main thread is that of an ancestor in a process that was forked.
    known = {thread.native_id for thread in running} | {os.getpid()}
    deadline = time.monotonic() + CALM
    strangers = _strangers(known)
    while any(state == "R" for _, _, state in strangers) and time.monotonic() < deadline:
        time.sleep(CALM / 100)
        strangers = _strangers(known)
    for _, comm, state in strangers:
        if state == "R":
            found.refusals.append("a thread of a native library is computing: " + comm)
    found.strangers = {number: comm for number, comm, _ in strangers}


def _strangers(known: set[int]) -> list[tuple[int, str, str]]:
    """Returns the numbers, names and states of threads that Python does not know of."""
    found = []
    for name in os.listdir("/proc/self/task"):
        if int(name) in known:
            continue
        try:
            with open("/proc/self/task/%s/stat" % name) as f:
                head, _, rest = f.read().rpartition(")")
        except OSError:
            continue
        comm = head.partition("(")[2]
        if not comm.startswith(RENEWED):
            found.append((int(name), comm, rest.split()[0]))
    return found


def _pool_size(library: str) -> int:
    """Returns how many threads a library may have in its pool."""
    if "libarrow" in library:
        arrow = sys.modules.get("pyarrow")
        return arrow.cpu_count() + arrow.io_thread_count() if hasattr(arrow, "io_thread_count") else 0
    return os.cpu_count() or 1


def _descriptors(found: Survey, listed: dict[int, str], own: set[int]) -> None:
    connections, ends, unnamed = [], [], 0
    for fd, target in listed.items():
        if fd in own or fd <= 2:
            continue
        if target.startswith("/dev/nvidia"):
            found.refusals.append("a graphics processor is in use, and its memory can't be copied: " + target)
            return
        try:
            state = os.fstat(fd)
        except OSError:
            continue
        mode = state.st_mode
        if stat.S_ISSOCK(mode):
            connections.append(_connection(fd))
        elif stat.S_ISREG(mode):
            found.files.append(fd)
            unnamed += 0 if state.st_nlink else state.st_size
        elif stat.S_ISFIFO(mode):
            ends.append("%d (%s)" % (fd, "a pipe" if target.startswith("pipe:") else target))
        elif stat.S_ISCHR(mode) and os.isatty(fd):
            ends.append("%d (%s)" % (fd, target))
    named = sorted(filter(None, connections))
    if named:
        found.warnings.append("open connections are shared with the original: " + ", ".join(named[:5]))
    if ends:
        found.warnings.append("pipes and terminals are shared with the original: " + ", ".join(ends[:5]))
    if unnamed > MAX_UNNAMED:
        found.warnings.append(
            "temporary files without a name are shared with the original: they have %d MB, and %d are copied"
            % (unnamed >> 20, MAX_UNNAMED >> 20)
        )


def _connection(fd: int) -> str:
    """Describes a socket; empty for one of those by which a loop wakes itself."""
    if any(fd in (loop._ssock.fileno(), loop._csock.fileno()) for loop in plumbing.loops if loop._ssock):
        return ""
    try:
        with socket.socket(fileno=os.dup(fd)) as s:
            try:
                address = s.getpeername()
            except OSError:
                address = s.getsockname()
    except OSError:
        return ""
    if isinstance(address, tuple):
        return "%s:%s" % address[:2]
    return os.fsdecode(address) or "a pair of sockets"


def _maps() -> tuple[set[str], list[str]]:
    """Returns the libraries that are loaded, and the files whose memory is shared and writable."""
    with open("/proc/self/maps", errors="replace") as f:
        text = f.read()
    libraries = set(LIBRARY.findall(text))
    shared = {path or "anonymous memory" for path in SHARED.findall(text)}
    return libraries, sorted(path for path in shared if not path.startswith(OURS))


PAUSE_HARD = 2


def pause_openmp(libraries: set[str]) -> None:
    """Ends the threads of GNU's OpenMP, which starts others on need; a copy would wait for them."""
    for path in libraries:
        if "libgomp" in os.path.basename(path):
            try:
                ctypes.CDLL(path).omp_pause_resource_all(PAUSE_HARD)
            except (OSError, AttributeError):
                pass


def _children() -> set[int]:
    found = set()
    try:
        for task in os.listdir("/proc/self/task"):
            with open("/proc/self/task/%s/children" % task) as f:
                found.update(map(int, f.read().split()))
        return found
    except OSError:
        pass
    mine = b"%d" % os.getpid()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name, "rb") as f:
                    fields = f.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if fields[1] == mine and fields[0] not in (b"Z", b"X"):
                found.add(int(name))
    return found


def _name(pid: int) -> str:
    try:
        with open("/proc/%d/comm" % pid) as f:
            return f.read().strip()
    except OSError:
        return "ended"
