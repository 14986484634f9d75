"""Output streams that are prompt and do not cut lines."""

from io import StringIO

from ipykernel.iostream import OutStream


class LineStream(OutStream):
    """An OutStream whose flush by time comes after 20 ms and sends whole lines.

    ``print("x")`` is two writes, "x" and its newline. A flush that falls between them holds the "x" back, so that a short
    print is one message. What has no newline, a progress bar or a prompt, is held back for one interval
    only. A flush that is asked for, by the user or at the end of a run, sends everything as ever.

    Everything here runs in ipykernel's IO thread but for the writes, which take the buffer's lock.
    """

    flush_interval = 0.02

    def __init__(self, *args, **kwargs):
        self._by_time = False
        self._held = set()  # buffers whose last line was held back, by key
        super().__init__(*args, **kwargs)

    def _schedule_flush(self):
        if self._flush_pending:
            return
        self._flush_pending = True

        def schedule_in_thread():
            self._io_loop.call_later(self.flush_interval, self._timed_flush)

        self.pub_thread.schedule(schedule_in_thread)

    def _timed_flush(self):
        self._by_time = True
        try:
            self._flush()
        finally:
            self._by_time = False
        if self._held:
            self._schedule_flush()

    def _hold_back(self, key, buffer):
        """Splits a buffer into what is sent now and what is held back."""
        text = buffer.getvalue()
        end = max(text.rfind("\n"), text.rfind("\r")) + 1
        if end == len(text) or (end == 0 and key in self._held):
            return buffer, ""
        return StringIO(text[:end]), text[end:]

    def _rotate_buffer(self):
        """Of ipykernel 6: one buffer."""
        with self._buffer_lock:
            full, self._buffer = self._buffer, StringIO()
            if self._by_time:
                full, tail = self._hold_back(None, full)
                self._buffer.write(tail)
                self._held = {None} if tail else set()
            else:
                self._held = set()
        return full

    def _rotate_buffers(self):
        """Of ipykernel 7: a buffer for each parent."""
        with self._buffer_lock:
            buffers = super()._rotate_buffers()
            held = set()
            if self._by_time:
                for key, buffer in buffers.items():
                    buffers[key], tail = self._hold_back(key, buffer)
                    if tail:
                        self._buffers[key].write(tail)
                        held.add(key)
            self._held = held
        return buffers
