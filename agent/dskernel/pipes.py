"""A stream that has what subprocesses write to its descriptor, in its place and before a run ends."""

from __future__ import annotations

import codecs
import os
import select
import sys
import threading

from ipykernel.iostream import OutStream

# A pipe that polls as writable takes this much without waiting, so neither reading nor copying a piece ever
# blocks.
PIECE = 4096
MAX_PUMPED = 1 << 20  # bytes that one flush takes from the pipe; a subprocess may write faster than we read


class PipedStream(OutStream):
    """An OutStream that reads the pipe behind descriptor 1 or 2 itself, and gives it to ``_put_pumped``.

    A thread watches the pipe, and may be late: what a subprocess wrote would come after the next print, or
    after the run. So whoever writes or flushes calls ``_catch_up`` first.
    """

    def __init__(self, *args, **kwargs) -> None:
        self._pipe_lock = threading.RLock()  # held while the pipe is read; a signal's handler may print
        self._pumping = False  # set before anything is taken from the pipe
        self._pipe_decoder = codecs.getincrementaldecoder("utf-8")("replace")
        super().__init__(*args, **kwargs)

    def _put_pumped(self, text: str) -> None:
        raise NotImplementedError

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
                self._put_pumped(text)
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
