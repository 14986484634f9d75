"""ipykernel's way out for iopub messages, without a detour through another thread."""

from __future__ import annotations

import logging
import signal
import threading
from collections import deque
from collections.abc import Iterator
from functools import partial

import zmq
from ipykernel.iostream import IOPubThread

MORE = (zmq.SNDMORE,) * 63 + (0,)  # flags of the parts of a message


class SharedSocket(zmq.Socket):
    """A socket that several threads may use: one at a time, and each sends or receives whole messages."""

    def __init__(self, *args, **kwargs) -> None:
        # What pyzmq takes for options of zmq it would pass on; these are ours.
        object.__setattr__(self, "turn", threading.RLock())
        super().__init__(*args, **kwargs)

    def send_multipart(self, msg_parts, flags=0, copy=True, track=False, **kwargs):
        """Sends a message."""
        with self.turn:
            if flags or track or kwargs or len(msg_parts) > len(MORE):
                return super().send_multipart(msg_parts, flags, copy, track, **kwargs)
            send = partial(zmq.backend.Socket.send, self, copy=copy)
            exhaust(map(send, msg_parts, MORE[-len(msg_parts) :]))
            return None

    def recv_multipart(self, *args, **kwargs):
        """Receives a message."""
        with self.turn:
            return super().recv_multipart(*args, **kwargs)

    def get(self, option):
        """Returns an option's value."""
        with self.turn:
            return super().get(option)

    getsockopt = get


def exhaust(calls: Iterator) -> None:
    """Makes calls of C to the last one, also where a signal's handler raises among them.

    No code of Python's runs between the calls; but pyzmq looks for signals as it sends a part, and what it
    raises then does not tell whether the part was sent. Half a message would spoil the next. So an interrupt
    of the main thread waits until the message is whole.
    """
    if threading.get_ident() != threading.main_thread().ident:
        deque(calls, maxlen=0)
        return
    interrupts: list = []
    handler = signal.signal(signal.SIGINT, lambda *signaled: interrupts.append(signaled))
    if handler is None:  # of C code, which can't be put back
        handler = signal.default_int_handler
    raised = None
    while True:
        try:
            deque(calls, maxlen=0)
            break
        except (zmq.ZMQError, TypeError, ValueError):
            signal.signal(signal.SIGINT, handler)
            raise
        except BaseException as e:  # of another signal's handler
            raised = e
    signal.signal(signal.SIGINT, handler)
    if raised is not None:
        raise raised
    if interrupts and callable(handler):
        handler(*interrupts[-1])


# Messages that wait for a client on iopub; code that has more to say waits for it. Upstream has zmq's
# 1000 and drops what is beyond, which happens on a busy machine before a client gets its share; what
# is lost may be the idle that it waits for. Our clients read whatever comes and drop by rules of
# their own, so the wait is short.
MAX_QUEUED = 20_000


class Doors:
    """Stands in for a context where ipykernel makes its iopub socket, which becomes one to be shared."""

    def __init__(self, context: zmq.Context) -> None:
        self._context = context

    def socket(self, kind: int) -> SharedSocket:
        """Makes a socket."""
        made = SharedSocket(self._context, kind)
        made.sndhwm = MAX_QUEUED
        if kind in (zmq.PUB, zmq.XPUB):
            made.setsockopt(zmq.XPUB_NODROP, 1)
        return made

    def __getattr__(self, name: str):
        return getattr(self._context, name)


class DirectIOPub(IOPubThread):
    """An IOPubThread that sends a message from the thread which has it, where that changes no order.

    Upstream wakes its thread for each message, and waits for the interpreter to come back from it: half of
    what a short run costs.
    """

    _woken = False
    _busy = False  # with a scheduled function; IO thread

    def send_multipart(self, *args, **kwargs) -> None:
        """Sends at once, unless there is something that was there first."""
        socket = self.socket
        if (
            not isinstance(socket, SharedSocket)
            or not self.thread.is_alive()
            or not self._is_master_process()
        ):
            super().send_multipart(*args, **kwargs)
            return
        with socket.turn:
            if not self._events or (self._busy and threading.get_ident() == self.thread.ident):
                self._really_send(*args, **kwargs)
                self._look_for_subscribers(socket)
                return
        super().send_multipart(*args, **kwargs)

    def _look_for_subscribers(self, socket: SharedSocket) -> None:
        # zmq tells of a new subscriber once, and it may have been now, to this thread.
        stream = getattr(self, "_xpub_stream", None)
        try:
            if stream is not None and socket.get(zmq.EVENTS) & zmq.POLLIN:
                self.io_loop.add_callback(stream._handle_events, socket, 0)
        except (zmq.ZMQError, RuntimeError):
            pass  # the kernel ends, and its main thread has closed the socket, or the loop

    def schedule(self, f) -> None:
        """Has a function called in the IO thread, after those that were scheduled before."""
        if not self.thread.is_alive():
            f()
            return
        self._events.append(f)
        self._wake()

    def _wake(self) -> None:
        if self._woken:
            return
        try:
            self._woken = True
            self.io_loop.asyncio_loop.call_soon_threadsafe(self._handle_event, None)
        except BaseException:  # an interrupt, which may have come before the thread was woken
            self._woken = False
            raise

    def _handle_event(self, msg) -> None:
        """Does what was scheduled. Until it is done it stays in the queue: nobody sends before it."""
        self._woken = False
        for _ in range(len(self._events)):
            self._busy = True
            try:
                self._events[0]()
            except Exception:
                logging.getLogger(__name__).exception("in the IO thread")
            finally:
                self._busy = False
                self._events.popleft()
