"""Output streams that are cheap and prompt, and do not cut lines."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Callable

from dskernel.children import tell
from dskernel.pipes import PipedStream
from dskernel.spool import Spool

LOOK_AFTER = 0.0001  # seconds between two writes in which a subprocess may have written too
FLOOD = 64  # writes without such a pause
MAX_WAITING = 4 << 20  # characters; whoever writes more lines waits until they are sent
MAX_MESSAGE = 4 << 20  # bytes of text; more is sent in several messages
MAX_LINE = 64 << 20  # characters of a line that is not whole yet
QUIET = ("zmq", "tqdm")  # modules whose threads don't print for a request
SWITCH = "DS_SANDBOX_CHEAP_PRINT"  # an environment variable; 0 does without floods


class LineStream(PipedStream):
    """An OutStream whose flush by time comes after 20 ms and sends whole lines.

    ``print("x")`` is two writes, "x" and the newline. A timed flush that falls between them holds the "x"
    back, so that the line is one message. Text that gets no newline, a progress bar or a prompt, is held
    back for one interval only. A flush that somebody asks for, be it the user or the end of a run, sends
    everything as ever.

    What belongs to the latest request waits in a spool. In ipykernel 7 code can belong to an earlier one or
    to a subshell, as its context says; its text waits elsewhere.

    In a flood, many writes without a pause, ``write`` is the spool's own method for a while. It looks neither
    for other requests nor at the pipe, so it must not outlast the flood. ``_mind`` sees to that. A flood
    begins only in the code of a run that is no coroutine, so that nothing else runs on its thread, and in
    ipykernel 7 only where no thread has been started that may belong to another request.

    Timers and flushes belong to ipykernel's IO thread.
    """

    flush_interval = 0.02

    def __init__(self, *args, **kwargs) -> None:
        self._spool = Spool()
        self._put = self._spool.put
        self._cheap = countable() and os.environ.get(SWITCH) != "0"
        self._written = 0.0  # when something was written last
        self._burst = 0  # writes since the last pause
        self._spooled = 0  # bytes that the flood had brought when it was minded last, until they are taken
        # The thread and the task that took the latest request, and the threads there were before the first.
        self._runs_in: tuple[int, object] | None = None
        self._first_threads: weakref.WeakSet[threading.Thread] | None = None
        self._hear: Callable[[str], None] | None = None
        self._start_afresh()
        super().__init__(*args, **kwargs)
        self._by_context = hasattr(self, "_parent_header_global")
        afresh = weakref.WeakMethod(self._after_fork)
        os.register_at_fork(after_in_child=lambda: (afresh() or int)())
        tell(self._end_flood)

    def _start_afresh(self) -> None:
        self._lock = threading.Lock()  # held while text is taken
        self._tail = Tail()
        self._earlier: list[tuple[dict, str]] = []  # what is left of requests before the latest
        self._elsewhere: dict[object, Elsewhere] = {}  # by the request's number
        self._waiting = 0  # characters since text was taken last; those of a flood are not counted

    def _after_fork(self) -> None:
        """Leaves to the parent what it has not sent yet."""
        self._end_flood()
        self._spool.take()
        self._start_afresh()
        self._hear = None
        self._flush_pending = False

    # Writing.

    def write(self, string: str) -> int:
        """Writes text, after what has been written to the descriptor until now."""
        if self.pub_thread is None:
            raise ValueError("I/O operation on closed file")
        if not self._is_master_process():
            return self._write_in_child(string)
        # A look at the pipe is a system call. Whatever else writes to the descriptor, a subprocess or C code,
        # takes a moment.
        now = time.monotonic()
        if now - self._written >= LOOK_AFTER:
            self._catch_up()
            self._burst = 0
        self._written = now
        count = self._put(string) if self._is_latest() else self._put_elsewhere(string)
        if self.echo is not None:
            with contextlib.suppress(OSError):
                self.echo.write(string)
        self._schedule_flush()
        self._waiting += count
        self._burst += 1
        if self._waiting + self._spooled > (MAX_WAITING if string.endswith("\n") else MAX_LINE):
            self._in_io_thread(self._send_whole_lines)
        elif self._burst >= FLOOD:
            self._begin_flood()
        return count

    def writelines(self, lines) -> None:
        """Writes each of the strings."""
        for line in lines:
            self.write(line)

    def _write_in_child(self, string: str) -> int:
        # A forked child has no timer; upstream sends each piece of it at once, each over a connection of its
        # own, which tears lines apart and shuffles them. Like a stream of Python's own it waits for the
        # line's end or a flush.
        count = self._put(string)
        if "\n" in string:
            self._flush()
        return count

    def _put_pumped(self, text: str) -> None:
        self._put(text)
        self._schedule_flush()

    def _is_latest(self) -> bool:
        """Reports whether the code that runs belongs to the latest request."""
        if not self._by_context:
            return True
        parent = self._parent_header.get(None)
        return parent is None or parent is self._parent_header_global

    def _put_elsewhere(self, string: str) -> int:
        if not isinstance(string, str):
            raise TypeError("write() argument must be str, not %s" % type(string).__name__)
        parent = self._parent_header.get()
        with self._lock:
            place = self._elsewhere.setdefault(parent.get("msg_id"), Elsewhere(parent))
            place.pieces.append(string)
        return len(string)

    def set_parent(self, parent) -> None:
        """Makes a request the one that output belongs to from now on."""
        self._end_flood()
        self.settle()
        super().set_parent(parent)
        if self._first_threads is None:
            self._first_threads = weakref.WeakSet(threading.enumerate())
        self._runs_in = place_of_execution()

    def settle(self) -> None:
        """Makes sure of what has been written until now: whose it is, and that whoever hears it has it."""
        with self._lock:
            left = self._tail.cut(self._take_latest())
            if left:
                self._earlier.append((self._latest_parent(), left))

    @contextlib.contextmanager
    def heard_by(self, hear: Callable[[str], None]):
        """Has a function called with what is written in the meantime, in larger pieces."""
        self.settle()
        before, self._hear = self._hear, hear
        try:
            yield
        finally:
            self.settle()
            self._hear = before
            self._schedule_flush()

    def _take_latest(self) -> str:
        text = self._spool.take()
        if text and self._hear is not None:
            self._hear(text)
        return text

    def _latest_parent(self) -> dict:
        return self._parent_header_global if self._by_context else self.parent_header

    def close(self) -> None:
        """Ends the stream; whoever writes to it gets an error."""
        self._end_flood()
        super().close()

    # Floods.

    def _begin_flood(self) -> None:
        self._burst = 0
        mine = self.__dict__
        if (
            not self._cheap
            or self.echo is not None
            or "write" in mine
            or self._runs_in != place_of_execution()
            # While the IO thread sends it can't mind: what a flood of long lines brings in the meantime takes
            # longer to send, and brings more.
            or getattr(self.pub_thread, "_busy", False)
        ):
            return
        if self._by_context and not all(map(self._is_quiet, threading.enumerate())):
            return
        self._spooled = 0
        mine["write"] = self._put
        self.pub_thread.schedule(self._mind)

    def _is_quiet(self, thread: threading.Thread) -> bool:
        return thread in self._first_threads or type(thread).__module__.partition(".")[0] in QUIET

    def _end_flood(self) -> None:
        if self.__dict__.get("write") is self._put:
            self.__dict__.pop("write", None)

    def _flooded(self) -> bool:
        return "write" in self.__dict__

    def _mind(self) -> None:
        """Ends the flood if it paused, stopped or brings more than can be sent; else looks again.

        A thread that sleeps for a moment and gets the interpreter back before its switch interval is over
        was let in by a thread that waits for something, perhaps for a subprocess. One that keeps writing is
        stopped by force, after the interval.
        """
        if not self._flooded():
            return
        begun = time.monotonic()
        time.sleep(LOOK_AFTER)
        paused = time.monotonic() - begun < sys.getswitchinterval()
        before, self._spooled = self._spooled, self._spool.size()
        if paused or self._spooled == before or self._spooled > MAX_WAITING:
            self._end_flood()
        else:
            self._io_loop.add_callback(self._mind)

    # Flushing.

    def _schedule_flush(self) -> None:
        if self._flush_pending:
            return
        if self.pub_thread.thread.is_alive():
            try:
                self._flush_pending = True
                self.pub_thread.schedule(self._set_timer)
            except BaseException:  # an interrupt, which may have come before the timer was asked for
                self._flush_pending = False
                raise
        else:  # at the end of the process; its loop is closed
            self._flush()

    def _set_timer(self) -> None:
        # Nothing stops it: in a loop of print(..., flush=True) that would cost more than the flush. It takes
        # its turn with what is scheduled: what takes text sends it before anything else is sent.
        self._io_loop.call_later(self.flush_interval, self.pub_thread.schedule, self._timed_flush)

    def _timed_flush(self) -> None:
        self._flush_pending = False
        self._end_flood()  # what comes now takes its time, and nobody minds the flood in the meantime
        self._send_whole_lines()
        # A write that somebody keeps schedules nothing. Beside the spool's there is our own reference to it.
        if self._tail or self._elsewhere or self._spool.lent() > 1:
            self._schedule_flush()

    def _send_whole_lines(self) -> None:
        self._send(hold_back=True)

    def flush(self) -> None:
        """Sends everything that has been written to the stream or to the descriptor until now."""
        self._end_flood()
        if self._is_master_process():  # a forked child leaves the pipe to us
            self._catch_up()
        if self._has_text() or (self.pub_thread and self.pub_thread._events):
            self._in_io_thread(self._flush)

    def _has_text(self) -> bool:
        return bool(self._tail or self._earlier or self._elsewhere or self._spool.size())

    def _in_io_thread(self, send) -> None:
        """Lets the IO thread send, after what was scheduled before, and waits for it."""
        io_thread = self.pub_thread and self.pub_thread.thread
        if not io_thread or not io_thread.is_alive() or io_thread.ident == threading.get_ident():
            send()
            return
        done = threading.Lock()
        done.acquire()

        def send_now() -> None:
            try:
                send()
            finally:
                done.release()

        self.pub_thread.schedule(send_now)
        if not done.acquire(timeout=self.flush_timeout):
            print("a flush of %s timed out" % self.name, file=sys.__stderr__)

    def _flush(self) -> None:
        self._send(hold_back=False)

    def _send(self, hold_back: bool) -> None:
        if self.echo is not None:
            with contextlib.suppress(OSError):
                self.echo.flush()
        for parent, text in self._take(hold_back):
            for part in parts(text):
                self._send_message(parent, part)

    def _take(self, hold_back: bool) -> list[tuple[dict, str]]:
        with self._lock:
            taken, self._earlier = self._earlier, []
            self._waiting = self._spooled = 0
            for number, place in list(self._elsewhere.items()):
                pieces, place.pieces = place.pieces, []
                taken.append((place.parent, place.tail.cut("".join(pieces), hold_back)))
                if not place.tail:
                    del self._elsewhere[number]
            taken.append((self._latest_parent(), self._tail.cut(self._take_latest(), hold_back)))
        return [(parent, text) for parent, text in taken if text]

    def _send_message(self, parent: dict, text: str) -> None:
        self.session.pid = os.getpid()  # else the session refuses to work in a forked child
        message = self.session.msg("stream", {"name": self.name, "text": text}, parent=parent)
        for hook in getattr(self, "_hooks", ()):
            message = hook(message)
            if message is None:
                return
        self.session.send(self.pub_thread, message, ident=self.topic)


class Tail:
    """The end of a text that was held back because its line was not whole; true if there is any."""

    def __init__(self) -> None:
        self._text = ""
        self._since = 0.0

    def __bool__(self) -> bool:
        return bool(self._text)

    def cut(self, text: str, hold_back: bool = False) -> str:
        """Returns what goes out now: the text after what was held back, if need be without its end."""
        if hold_back and not text.endswith("\n"):
            end = text.rfind("\n") + 1
            now = time.monotonic()
            if end or not self._text:
                self._since, before = now, self._text
                self._text = text[end:]
                return before + text[:end]
            self._text += text
            # A little less than the interval, since timers are a little early at times.
            if len(self._text) < MAX_LINE and now - self._since <= 0.9 * LineStream.flush_interval:
                return ""
            text = ""
        whole, self._text = self._text + text, ""
        return whole


def parts(text: str) -> Iterator[str]:
    """Cuts what is too much for one message, after a line's end if there is one."""
    limit = MAX_MESSAGE if text.isascii() else MAX_MESSAGE // 4  # no character takes more than 4 bytes
    begin = 0
    while len(text) - begin > limit:
        end = text.rfind("\n", begin, begin + limit) + 1 or begin + limit
        yield text[begin:end]
        begin = end
    yield text[begin:] if begin else text


class Elsewhere:
    """The text of a request that is not the latest."""

    def __init__(self, parent: dict) -> None:
        self.parent = parent
        self.pieces: list[str] = []
        self.tail = Tail()


def place_of_execution() -> tuple[int, object]:
    """Returns the thread, and the task that runs there."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return threading.get_ident(), task


def countable() -> bool:
    """Reports whether this Python counts references and runs one thread at a time."""
    return sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()
