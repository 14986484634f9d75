"""Takes a kernel out of what it shares with the process it was forked from, and gives it its own again.

The application, the kernel, its shell and its event loop stay the very objects that the user's code knows.
Sockets, threads and descriptors are replaced. Seen with ipykernel 6.17 and 7.4.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import uuid
from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from io import StringIO

from zmq.eventloop.zmqstream import ZMQStream

from dskernel import plumbing
from dskernel.parked import Order

PORTS = ("shell", "iopub", "stdin", "control", "hb")


class Plant:
    """The sockets, threads and descriptors of a kernel."""

    def __init__(self, kernel) -> None:
        self._kernel, self._app = kernel, kernel.parent
        self._left: list[object] = []  # what belongs to ancestors; what a finalizer would do to it is unknown

    def threads(self) -> set[threading.Thread]:
        """Returns our own threads."""
        app = self._app
        found = [app.iopub_thread.thread, app.control_thread, app.heartbeat, app.poller]
        found += [getattr(app, "shell_channel_thread", None)]
        found += [getattr(stream, "watch_fd_thread", None) for stream in self._streams()]
        history = getattr(self._kernel.shell, "history_manager", None)
        found.append(getattr(history, "save_thread", None))
        return {thread for thread in found if isinstance(thread, threading.Thread)}

    def descriptors(self, listed: dict[int, str]) -> set[int]:
        """Returns those of the listed descriptors that are ours."""
        found = self._plumbing(listed) | self._app.eventfds.ours()
        for loop in plumbing.loops:
            if not loop.is_closed():
                found |= {loop._selector.fileno(), loop._ssock.fileno(), loop._csock.fileno()}
        for stream in self._streams():
            found |= {getattr(stream, "_fid", None), getattr(stream, "_original_stdstream_copy", None)} - {
                None
            }
            if getattr(stream, "_should_watch", False):
                found |= _leading_as(_number(stream), listed)
        return found

    def _plumbing(self, listed: dict[int, str]) -> set[int]:
        """Returns the descriptors of our zmq contexts, and of what other native libraries watch."""
        found = plumbing.bound(self._addresses(), listed)
        for fd, target in listed.items():
            members = plumbing.members(fd) if target == plumbing.EVENTPOLL else []
            if plumbing.pointed(members):
                found.add(fd)
                found |= {m.fd for m in members}
        for context in (self._app.context, self._app.heartbeat.context):
            for made in list(context._sockets):
                if not made.closed:
                    found.add(made.FD)
        return found

    def _addresses(self) -> set[str]:
        """Returns where the kernel listens."""
        app = self._app
        between = "-" if app.transport == "ipc" else ":"
        return {"%s%s%d" % (app.ip, between, getattr(app, name + "_port")) for name in PORTS}

    def _streams(self) -> list:
        return [s for s in (self._kernel.shell and sys.stdout, sys.stderr) if hasattr(s, "pub_thread")]

    def _threads_loops(self) -> list:
        app = self._app
        threads = [app.iopub_thread, app.control_thread, getattr(app, "shell_channel_thread", None)]
        return [thread.io_loop.asyncio_loop for thread in threads if thread is not None]

    # Leaving.

    def leave(self, copies: Iterable[int]) -> None:
        """Lets go of everything that is shared with the process we were forked from. Main thread."""
        app, kernel = self._app, self._kernel
        loop = kernel.io_loop.asyncio_loop
        dead = self._threads_loops()
        for other in dead:
            plumbing.loops.discard(other)
        listed = plumbing.listed()  # which stays true for all that is done below
        renew_loops(listed, {d._selector.fileno() for d in dead})
        asyncio._set_running_loop(loop)
        for handle in copies:
            loop.remove_reader(handle)
            os.close(handle)
        shared = self._plumbing(listed) | app.eventfds.ours()
        for stream in self._main_streams():
            stream.io_loop.remove_handler(stream.socket)
            stream._handle_events = _nothing  # which may be scheduled already, and would never return
        for other in dead:
            plumbing.abandon(other)
        for fd in shared:
            try:
                os.close(fd)
            except OSError:
                pass
        for stream in self._streams():
            self._uncapture(stream, listed)
        tasks = [asyncio.all_tasks(other) for other in dead]  # which complain when they are collected
        self._left += [
            dead, tasks, app.context, app.heartbeat, app.iopub_thread, app.control_thread, app.debugpy_socket,
            app.debug_shell_socket, app.shell_socket, app.control_socket, app.stdin_socket,
            getattr(app, "shell_channel_thread", None), kernel.shell_stream, kernel.control_stream,
            kernel.debugpy_stream, kernel.__dict__.get("debugger"), self._main_streams(),
        ]  # fmt: skip
        # While we wait, who reads what the original writes must find its end when the original ends.
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._redirect(null)
        os.close(null)

    def _main_streams(self) -> list[ZMQStream]:
        """Returns the zmq streams on the main loop."""
        thread = getattr(self._app, "shell_channel_thread", None)
        stream = thread.manager._shell_channel_to_main.to_stream if thread else self._kernel.shell_stream
        return [stream]

    def _uncapture(self, stream, listed: dict[int, str]) -> None:
        """Takes a stream's pipe away, and what it has not sent yet."""
        if getattr(stream, "_should_watch", False):
            for fd in _leading_as(_number(stream), listed) - {_number(stream)}:
                os.close(fd)
            os.dup2(stream._original_stdstream_copy, _number(stream))
            stream._should_watch = False
        for name in ("_buffer_lock", "_pipe_lock"):
            if hasattr(stream, name):
                setattr(stream, name, threading.RLock())
        if hasattr(stream, "_buffers"):
            stream._buffers = defaultdict(StringIO)
        if hasattr(stream, "_buffer"):
            stream._buffer = StringIO()
        stream._flush_pending = False
        if hasattr(stream, "_after_fork"):
            stream._after_fork()

    # Coming back.

    def rebuild(self, order: Order) -> None:
        """Makes this process a kernel of its own."""
        if order.output >= 0:
            self._redirect(order.output)
        app, kernel = self._app, self._kernel
        listed = plumbing.listed()
        if order.stay:  # then the one that stays has the same
            renew_loops(listed)
            asyncio._set_running_loop(kernel.io_loop.asyncio_loop)
        self._rename(order.connection)
        background = app.iopub_socket
        app.context = None
        app.make_sockets()
        app.init_heartbeat()
        app.write_connection_file()
        app.log_connection_info()
        background.io_thread = app.iopub_thread
        app.iopub_thread.background_socket = app.iopub_socket = background
        for stream in self._streams():
            self._capture(stream)
        self._connect()
        kernel.record_ports({name + "_port": port for name, port in app._ports.items()})
        self._start()
        app.eventfds = plumbing.Eventfds()
        app.eventfds.note(plumbing.eventfds(listed))

    def _redirect(self, output: int) -> None:
        os.dup2(output, 1)
        os.dup2(output, 2)
        for stream in self._streams():
            if hasattr(stream, "_original_stdstream_copy"):
                os.dup2(output, stream._original_stdstream_copy, inheritable=False)

    def _rename(self, connection: str) -> None:
        """Takes the ports and the key of another connection file, and a new identity."""
        app, session = self._app, self._kernel.session
        app.former_key = former = session.key
        app.connection_file = connection
        for name in PORTS:
            setattr(app, name + "_port", 0)
        app.load_connection_file()
        if session.key == former:
            raise ValueError(
                "a copy needs a key of its own: it would run the requests that wait for the original"
            )
        session.session = str(uuid.uuid4())
        session.pid = os.getpid()
        session.digest_history = set()
        self._kernel.ident = str(uuid.uuid4())

    def _capture(self, stream) -> None:
        """Gives a stream the new way out, and a pipe over its descriptor."""
        stream.pub_thread = self._app.iopub_thread
        stream._io_loop = stream.pub_thread.io_loop
        stream._master_pid = os.getpid()
        if hasattr(stream, "_first_threads"):
            stream._first_threads = None
        if not hasattr(stream, "watch_fd_thread"):
            return
        stream._fid, write = os.pipe()
        os.dup2(write, _number(stream))
        os.close(write)
        stream._exc, stream._should_watch = None, True
        stream.watch_fd_thread = threading.Thread(target=stream._watch_pipe_fd, daemon=True)
        stream.watch_fd_thread.start()

    def _connect(self) -> None:
        """Does what the application's init_kernel does for the sockets of a kernel."""
        app, kernel = self._app, self._kernel
        channel = getattr(app, "shell_channel_thread", None)
        if channel is not None:
            kernel.shell_stream = channel.shell_stream = ZMQStream(app.shell_socket, channel.io_loop)
            kernel.shell_channel_thread = channel
        else:
            kernel.shell_stream = ZMQStream(app.shell_socket)
        kernel.control_stream = ZMQStream(app.control_socket, app.control_thread.io_loop)
        kernel.debugpy_stream = ZMQStream(app.debugpy_socket, app.control_thread.io_loop)
        kernel.debug_shell_socket = app.debug_shell_socket
        kernel.control_thread, kernel.iopub_thread = app.control_thread, app.iopub_thread
        kernel.stdin_socket = app.stdin_socket
        if "debugger" in kernel.__dict__:
            kernel.debugger = _new_debugger(kernel)
        app.control_thread.start()
        if channel is not None:
            channel.start()

    def _start(self) -> None:
        kernel = self._kernel
        if not hasattr(kernel, "msg_queue"):
            kernel.start()
            return
        # In ipykernel 6, start would begin a second coroutine for the queue of requests, beside ours.
        control = kernel.control_thread.io_loop.asyncio_loop
        kernel.control_queue = type(kernel.control_queue)()
        kernel.debugpy_stream.on_recv(kernel.dispatch_debugpy, copy=False)
        kernel.control_stream.on_recv(kernel.dispatch_control, copy=False)
        asyncio.run_coroutine_threadsafe(kernel.poll_control_queue(), control)
        asyncio.run_coroutine_threadsafe(kernel.poll_stopped_queue(), control)
        kernel.shell_stream.on_recv(partial(kernel.schedule_dispatch, kernel.dispatch_shell), copy=False)
        kernel._publish_status("starting", "shell")


def renew_loops(listed: dict[int, str], spared: set[int] = frozenset()) -> None:
    """Gives event loops, and whatever else waits by an epoll, descriptors that no other process has."""
    for loop in list(plumbing.loops):
        if not loop.is_closed():
            plumbing.renew_wakeup(loop)
    for fd, target in listed.items():
        if target == plumbing.EVENTPOLL and fd not in spared:
            members = plumbing.members(fd)
            if not plumbing.pointed(members):
                plumbing.renew_epoll(fd, members)


def _leading_as(number: int, listed: dict[int, str]) -> set[int]:
    """Returns the descriptors that lead where one does, that one among them."""
    return {fd for fd, target in listed.items() if target == listed.get(number, "")}


def _nothing(*args) -> None:
    pass


def _number(stream) -> int:
    return 1 if stream.name == "stdout" else 2


def _new_debugger(kernel):
    ours = (
        kernel.log,
        kernel.debugpy_stream,
        kernel._publish_debug_event,
        kernel.debug_shell_socket,
        kernel.session,
    )
    if hasattr(kernel, "_kernel_modules"):
        rest = (kernel._kernel_modules, kernel.debug_just_my_code, kernel.filter_internal_frames)
    else:
        rest = (kernel.debug_just_my_code,)
    return type(kernel.debugger)(*ours, *rest)
