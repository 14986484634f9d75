"""Output streams that are prompt, do not cut lines, and have what subprocesses wrote before a run ends."""

from __future__ import annotations

import codecs
import os
import select
import sys
import threading
import time
from io import StringIO

from ipykernel.iostream import OutStream

# A pipe that polls as writable takes this much without waiting, so neither reading nor copying a piece ever
# blocks.
PIECE = 4096
LOOK_AFTER = 0.0001  # seconds between two writes in which a subprocess may have written too
MAX_PUMPED = 1 << 20  # bytes that one flush takes from the pipe; a subprocess may write faster than we read


class LineStream(OutStream):
    """An OutStream whose flush by time comes after 20 ms and sends whole lines.

    ``print("x")`` is two writes, "x" and the newline. A timed flush that falls between them holds the "x"
    back, so that the line is one message. Text that gets no newline, a progress bar or a prompt, is held
    back for one interval only. A flush that somebody asks for, be it the user or the end of a run, sends
    everything as ever.

    Timers and flushes belong to ipykernel's IO thread. Writers take the buffer's lock.
    """

    flush_interval = 0.02

    def __init__(self, *args, **kwargs) -> None:
        self._timer = None  # of the next timed flush; IO thread
        self._timed_in: int | None = None  # the thread that runs a timed flush at this moment
        # When the tail of a buffer was held back first, by the buffer's key.
        self._held: dict[object, float] = {}
        self._pipe_lock = threading.RLock()  # held while the pipe is read; a signal's handler may print
        self._written = 0.0  # when something was written last
        self._pumping = False  # set before anything is taken from the pipe
        self._pipe_decoder = codecs.getincrementaldecoder("utf-8")("replace")
        super().__init__(*args, **kwargs)

    def _schedule_flush(self) -> None:
        if self._flush_pending:
            return
        self._flush_pending = True
        if self.pub_thread.thread.is_alive():
            self.pub_thread.schedule(self._set_timer)
        else:  # at the end of the process; its loop is closed
            self._flush()

    def _set_timer(self) -> None:
        if self._timer is None:
            self._timer = self._io_loop.call_later(self.flush_interval, self._timed_flush)

    def _timed_flush(self) -> None:
        self._timer = None
        # Not a mere flag: a process forked at this moment inherits it, and must not take its own flushes for
        # timed ones.
        self._timed_in = threading.get_ident()
        try:
            super()._flush()
        finally:
            self._timed_in = None
        if self._held and not self._flush_pending:
            self._flush_pending = True
            self._set_timer()

    def _flush(self) -> None:
        if self._timer is not None and self._is_master_process():
            self._io_loop.remove_timeout(self._timer)
            self._timer = None
        super()._flush()

    # The buffers. ipykernel 6 has one, 7 one for each parent; there the key is the parent's.

    def _rotate_buffer(self) -> StringIO:
        with self._buffer_lock:
            full = super()._rotate_buffer()
            if not self._hold_back():
                return full
            whole, tail = self._split(None, full)
            if tail:
                self._buffer.write(tail)
            return whole

    def _rotate_buffers(self) -> dict:
        with self._buffer_lock:
            full = super()._rotate_buffers()
            if not self._hold_back():
                return full
            rotated = {}
            for key, buffer in full.items():
                rotated[key], tail = self._split(key, buffer)
                if tail:
                    self._buffers[key].write(tail)
            self._held = {key: since for key, since in self._held.items() if key in self._buffers}
            return rotated

    def _hold_back(self) -> bool:
        """Reports whether this flush is a timed one. Any other starts afresh."""
        if self._timed_in == threading.get_ident():
            return True
        self._held.clear()
        return False

    def _split(self, key: object, buffer: StringIO) -> tuple[StringIO, str]:
        """Returns what goes out now, and the tail that is held back."""
        text = buffer.getvalue()
        end = text.rfind("\n") + 1
        since = None if end else self._held.get(key)
        now = time.monotonic()
        # A little less than the interval, since timers are a little early at times.
        if end == len(text) or (since is not None and now - since > 0.9 * self.flush_interval):
            self._held.pop(key, None)
            return buffer, ""
        self._held[key] = now if since is None else since
        return StringIO(text[:end]), text[end:]

    # The pipe that stands in for descriptor 1 or 2, so that what subprocesses write becomes output too.

    # A thread watches it, and may be late: what a subprocess wrote would come after the next print, or after
    # the run. So whoever writes or flushes looks first.

    def write(self, string: str) -> int | None:
        """Writes text, after what has been written to the descriptor until now."""
        if self._is_master_process():
            # A look at the pipe is a system call. Whatever else writes to the descriptor, a subprocess or C
            # code, takes a moment; in a flood of prints there is none, and two million cost seconds less.
            now = time.monotonic()
            if now - self._written >= LOOK_AFTER:
                self._catch_up()
            self._written = now
        elif isinstance(string, str):
            # A forked child has no timer; upstream sends each piece of it at once, each over a connection of
            # its own, which tears lines apart and shuffles them. Like a stream of Python's own it waits for
            # the line's end or a flush.
            self._subprocess_flush_pending = "\n" not in string
            super().write(string)
            return len(string)
        return super().write(string)

    def flush(self) -> None:
        """Sends everything that has been written to the stream or to the descriptor until now."""
        if self._is_master_process():  # a forked child leaves the pipe to us
            self._catch_up()
        super().flush()

    def _catch_up(self) -> None:
        # In this order: what another thread has just read left the pipe empty, and is not written yet.
        if self._watched() and (ready(self._fid, select.POLLIN) or self._pumping):
            self._pump()

    def _watched(self) -> bool:
        return getattr(self, "_should_watch", False)

    def _watch_pipe_fd(self) -> None:
        """Upstream's loop, made safe for bytes that are no UTF-8 and copies that can't be written.

        In ipykernel 6 the first of these ends the thread, and the next subprocess hangs with a full pipe.
        """
        poller = select.poll()
        poller.register(self._fid, select.POLLIN)
        try:
            while self._should_watch:
                poller.poll()
                self._pump()
        except Exception:
            self._exc = sys.exc_info()

    def _pump(self) -> None:
        """Takes what is in the pipe, and copies it to where the descriptor led before. Never blocks."""
        with self._pipe_lock:
            self._pumping = True
            try:
                self._take_from_pipe()
            finally:
                self._pumping = False

    def _take_from_pipe(self) -> None:
        pumped = 0
        while self._watched() and pumped < MAX_PUMPED and ready(self._fid, select.POLLIN):
            piece = os.read(self._fid, PIECE)
            if not piece:  # the user closed the descriptor
                self._should_watch = False
                return
            pumped += len(piece)
            text = self._pipe_decoder.decode(piece)
            if text:
                super().write(text)
            try:
                if ready(self._original_stdstream_copy, select.POLLOUT):
                    os.write(self._original_stdstream_copy, piece)
            except OSError:
                pass  # nobody reads it; the stream above is what counts


def ready(fd: int, event: int) -> bool:
    """Reports whether a descriptor can be read or written at once; an end or an error counts as well."""
    poller = select.poll()
    poller.register(fd, event)
    return bool(poller.poll(0))
