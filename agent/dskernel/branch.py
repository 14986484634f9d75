"""Copies of a running kernel, made between two runs by a fork: checkpoints that wait until they are woken.

A ``checkpoint_request`` on the shell channel takes its turn after the runs before it. Its content names a
``socket`` to make; the copy listens there, has no thread and does nothing else, see parked.py. The reply
tells the copy's ``pid`` and ``warnings``; or its ``status`` is error, with ``reasons`` for a refusal, and the
kernel is as it was.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import random
import signal
import sys
import threading
from contextlib import contextmanager
from io import BufferedRandom, BufferedWriter, TextIOWrapper

from dskernel import parked
from dskernel.rebuild import Plant
from dskernel.survey import executors, survey

READY = b"parked"
PATIENCE = 10.0  # seconds that a copy may take to say that it is parked
REAP_AFTER = 1.0  # seconds after a copy's end; until then the keeper can read how it ended
MAX_ACCOUNT = 1 << 12


class Brancher:
    """Makes the copies of one kernel."""

    def __init__(self, kernel) -> None:
        self._plant = Plant(kernel)
        self._kernel = kernel
        self._copies: dict[int, int] = {}  # those alive, by process; the descriptors that tell of their end
        self.generation = 0

    async def checkpoint(self, content: dict) -> dict | None:
        """Makes a copy and returns the reply; None in the copy, once it is woken to be a kernel."""
        try:
            return await self._checkpoint(content)
        except Exception as e:  # of what the user's objects do when they are looked at
            return failed("%s: %s" % (type(e).__name__, e))

    async def _checkpoint(self, content: dict) -> dict | None:
        if threading.current_thread() is not threading.main_thread():
            return refused(["the kernel does not run on the main thread"])
        _flush_streams()
        pictures = sys.modules.get("dskernel.charts.kaleido")
        if pictures is not None:
            pictures.rest()  # a browser can't be copied
        found = survey(self._kernel, self._plant, set(self._copies))
        if found.refusals:
            return refused(found.refusals)
        _flush_files(found.files)
        rng, pools = random.getstate(), executors()
        read, write = os.pipe()
        with unmoved_heap():
            try:
                pid = os.fork()
            except OSError as e:
                os.close(read)
                os.close(write)
                return failed("fork: %s" % os.strerror(e.errno or 0))
            if pid == 0:
                os.close(read)
                self._become(write, str(content["socket"]), found.files, rng, pools)
                return None
        os.close(write)
        found.miss()
        return await self._hear(pid, read, found.warnings)

    def _become(self, write: int, path: str, files: list[int], rng, pools: list) -> None:
        """Waits in the copy, and returns when it has been woken and is a kernel."""
        order = None
        try:
            os.setsid()
            copies, self._copies = self._copies, {}
            self._plant.leave(copies.values())
            _revive(pools)
            named = parked.named(files)
            parked.own_offsets(named)  # before the original goes on reading and writing
            listener = parked.listen(path)
            os.write(write, READY)
            os.close(write)
            write = -1
            order = parked.wait(listener, named)
            order.settle()
            self._plant.rebuild(order)
            order.seed(rng)  # last: zmq draws random ports
            self.generation += 1
            order.answer({"pid": os.getpid(), "generation": self.generation})
        except BaseException as e:
            parked.give_up(write, order, e)

    async def _hear(self, pid: int, read: int, warnings: list[str]) -> dict:
        self._watch(pid)
        loop = asyncio.get_running_loop()
        said = loop.create_future()
        account = b""

        def more() -> None:
            nonlocal account
            piece = os.read(read, MAX_ACCOUNT)
            account = (account + piece)[:MAX_ACCOUNT]
            if not piece and not said.done():
                said.set_result(None)

        loop.add_reader(read, more)
        try:
            await asyncio.wait_for(said, PATIENCE)
        except asyncio.TimeoutError:
            os.kill(pid, signal.SIGKILL)
            return failed("the copy said nothing within %g seconds" % PATIENCE)
        finally:
            loop.remove_reader(read)
            os.close(read)
        if account != READY:
            return failed(account.decode("utf-8", "replace") or "the copy died")
        return {"status": "ok", "pid": pid, "warnings": warnings, "generation": self.generation}

    def _watch(self, pid: int) -> None:
        """Reaps a copy when it has ended."""
        handle = os.pidfd_open(pid)
        loop = asyncio.get_running_loop()
        self._copies[pid] = handle

        def ended() -> None:
            loop.remove_reader(handle)
            loop.call_later(REAP_AFTER, reap)

        def reap() -> None:
            if self._copies.get(pid) == handle:
                del self._copies[pid]
                os.close(handle)
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    pass

        loop.add_reader(handle, ended)


def refused(reasons: list[str]) -> dict:
    """Returns the reply of a kernel that can't be copied as it is."""
    return {
        "status": "error",
        "ename": "Refused",
        "evalue": "; ".join(reasons),
        "traceback": [],
        "reasons": reasons,
    }


def failed(text: str) -> dict:
    """Returns the reply of a kernel whose copy came to nothing."""
    return {"status": "error", "ename": "BranchFailed", "evalue": text, "traceback": []}


@contextmanager
def unmoved_heap():
    """Keeps the garbage collector from writing to every object, which would copy its page."""
    collecting = gc.isenabled()  # whether it is frozen, too, is a question that looks at every object
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass
    ctypes.CDLL(None).fflush(None)


def _flush_files(files: list[int]) -> None:
    """Flushes what Python keeps of the open files, which else would be written by the copy too."""
    if not files:
        return
    for found in gc.get_objects():
        kind = type(found)
        if kind is TextIOWrapper or kind is BufferedWriter or kind is BufferedRandom:
            try:
                if found.fileno() in files:
                    found.flush()
            except Exception:
                pass  # closed, not writable, or on top of an object that is no file


def _revive(pools: list) -> None:
    """Lets thread pools, whose threads are gone, start new ones when they are used next."""
    import queue

    for pool in pools:
        for thread in pool._threads:
            sys.modules["concurrent.futures.thread"]._threads_queues.pop(thread, None)
        pool._threads = set()
        pool._idle_semaphore = threading.Semaphore(0)
        pool._work_queue = queue.SimpleQueue()
        pool._shutdown_lock = threading.Lock()
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None:
        processes._children.clear()  # at the end, they would be ended with us
