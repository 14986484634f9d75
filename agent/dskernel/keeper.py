"""The parent of one sandbox's processes."""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
import time
from contextlib import suppress

from bounds import Bounds
from confine import ruleset
from pausing import Pause
from proctree import (
    LINUX,
    any_child,
    below,
    exit_code,
    is_below,
    session_of,
    signal_same,
    state_of,
    strike,
    wait_any,
)
from spawn import Program, SpawnError, failure, spawn
from wire import BadRequest, Channel, Server, until

KILL_SECONDS = 1.8  # what kill_all takes at most
MAX_ACCOUNT = 1 << 16
MAXRSS_UNIT = 1024 if LINUX else 1


class Start:
    """A start under way: the child was forked and has not executed yet."""

    def __init__(self, number: object, pid: int) -> None:
        self.number = number
        self.pid = pid
        self.account = b""


class Guest:
    """A process that one of ours forked, as the host asked it to, and that counts as started by us."""

    def __init__(self, pid: int, handle: int, apart: bool) -> None:
        self.pid = pid
        self.handle = handle  # bound to the very process; -1 once its end was told
        self.apart = apart  # it belongs to another sandbox, and stays when ours is ended or paused
        self.pause = Pause(pid)

    def ended(self) -> bool:
        """Reports whether the process has ended, reaped or not."""
        if self.handle < 0:
            return True
        poller = select.poll()
        poller.register(self.handle, select.POLLIN)
        return bool(poller.poll(0))

    def signal(self, number: int) -> None:
        """Sends a signal to the process, unless it is gone."""
        if self.handle >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.handle, number)


class Keeper(Server):
    """Starts, signals and ends the processes of one sandbox for the host at the other end of the channel."""

    def __init__(self, channel: Channel, lifeline: int) -> None:
        """The lifeline is a pipe that nobody writes to; it ends with the supervisor."""
        super().__init__(channel)
        self.watch(lifeline, self._end)
        # Started by us and not reaped, so their ids can't have passed to others.
        self._running: set[int] = set()
        self._groups: set[int] = set()  # not on Linux: groups whose leader ended before its members
        self._starting: dict[int, Start] = {}  # by the descriptor that tells
        self._rules: dict | None = None  # what the last program was shut in by
        self._confinement = -1  # their ruleset's descriptor
        self._pause = Pause(os.getpid(), self._spared)
        self._guests: dict[int, Guest] = {}  # adopted, and not known to have ended; by process

    def run(self) -> None:
        """Serves until the host or the supervisor is gone, then ends everything."""
        try:
            self.serve()
        finally:
            self.channel.gone = True
            self._kill_all()

    def _end(self) -> None:
        self.ending = True

    def handle(self, message: dict, fds: list[int]) -> dict | None:
        op = message.get("op")
        if op == "start":
            return self._start(message, fds)
        if op == "signal":
            return self._signal(message)
        if op == "descendants":
            return {"pids": list(below(os.getpid())) if LINUX else sorted(self._running)}
        if op == "kill_all":
            return self._kill_all(self._spared())
        if op == "adopt":
            return self._adopt(message)
        if op == "end":
            return self._end_guest(message)
        if op == "pause":
            pause = self._pause_of(message)
            return self._switch(lambda: pause.stop(str(message.get("freezer") or "")))
        if op == "resume":
            return self._switch(self._pause_of(message).go)
        raise BadRequest("unknown op")

    def _start(self, message: dict, fds: list[int]) -> dict | None:
        try:
            program = Program(message["argv"], message["env"], message["cwd"], message.get("tty") is True)
            program.bounds = Bounds(message.get("limits"))
            program.fork = message.get("fork") is True and "born" in sys.modules
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            raise BadRequest("argv, env, cwd, limits: %r" % e) from e
        if len(fds) != 3:
            raise BadRequest("start takes three descriptors")
        try:
            program.confinement = self._confine(message.get("confine"))
            pid, told = spawn(program, fds)
        except SpawnError as e:
            return e.answer()
        self._running.add(pid)
        self._starting[told] = Start(message.get("id"), pid)
        self.watch(told, lambda: self._follow(told))
        return None  # a program on a dead network disk may take for ever, and others must not wait

    def _confine(self, rules: dict | None) -> int:
        """Returns the descriptor of a ruleset, which the next call may close; -1 for no rules."""
        if rules != self._rules:
            if self._confinement >= 0:
                os.close(self._confinement)
            self._rules, self._confinement = None, -1
            try:
                self._confinement = -1 if rules is None else ruleset(rules)
            except OSError as e:
                raise SpawnError("confine", e.errno or 0) from e
            except (ValueError, TypeError, AttributeError) as e:
                raise BadRequest("confine: %r" % e) from e
            self._rules = rules
        return self._confinement

    def _follow(self, told: int) -> None:
        """Reads on what became of a start, and answers it once that is known."""
        start = self._starting[told]
        try:
            piece = os.read(told, MAX_ACCOUNT)
        except BlockingIOError:
            return
        if piece and len(start.account) < MAX_ACCOUNT:
            start.account += piece
            return
        self.unwatch(told)
        os.close(told)
        del self._starting[told]
        error = failure(start.account)
        if error:
            self._running.discard(start.pid)
        self.channel.send({"id": start.number, **(error.answer() if error else {"pid": start.pid})})

    def _settle(self, pid: int) -> None:
        """Answers the start of a child that has ended, so that the answer comes before the event."""
        for told, start in list(self._starting.items()):
            if start.pid == pid:
                while told in self._starting:
                    self._follow(told)  # never blocks: the only writer is dead

    def _signal(self, message: dict) -> dict:
        try:
            pid, number = int(message["pid"]), signal.Signals[message["signal"]]
        except (KeyError, TypeError, ValueError, OverflowError) as e:
            raise BadRequest("pid, signal: %r" % e) from e
        guest = self._guests.get(pid)
        if guest is not None:
            guest.signal(number)
        # A leader that was reaped has left its id to others, and the group's with it: its members are found.
        # A guest may be reaped by its parent at any time.
        if pid not in self._running and message.get("group") and LINUX:
            _signal_members(pid, number, guest)
        elif pid in self._running:
            try:
                (os.killpg if message.get("group") else os.kill)(pid, number)
            except ProcessLookupError:
                pass  # it has ended and is not reaped yet
            except OSError as e:
                return {"error": "signal: " + os.strerror(e.errno), "errno": e.errno}
        return {}

    def _adopt(self, message: dict) -> dict:
        """Takes what one of ours forked for one that we started; apart, it does not end with them."""
        try:
            pid, apart = int(message["pid"]), message.get("apart") is True
            known = self._guests.get(pid)
            if known is not None:
                known.apart = apart
                return {"pid": pid}
            handle = os.pidfd_open(pid)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as e:
            raise BadRequest("pid: %r" % e) from e
        except OSError as e:
            return {"error": "adopt: " + os.strerror(e.errno), "errno": e.errno}
        guest = Guest(pid, handle, apart)
        # Asked in this order: as it has not ended, the id was its own when we looked where it is.
        if pid in self._running or not is_below(pid, os.getpid()) or guest.ended():
            os.close(handle)
            return {"error": "adopt: no process of ours", "errno": errno.ESRCH}
        self._guests[pid] = guest
        self.watch(handle, lambda: self._lose(pid, handle))
        return {"pid": pid}

    def _lose(self, pid: int, handle: int) -> None:
        """Tells of the end of an adopted process, as far as it is known: it may be its parent's to reap."""
        guest = self._guests.get(pid)
        if guest is not None and guest.handle == handle:
            self._tell(guest, exit_code(pid))

    def _tell(self, guest: Guest, status: int | None) -> None:
        del self._guests[guest.pid]
        self.unwatch(guest.handle)
        os.close(guest.handle)
        guest.handle = -1
        event = {"event": "exit", "pid": guest.pid}
        if status is None or os.WIFSIGNALED(status):
            event["signal"] = "SIGKILL" if status is None else signal_name(os.WTERMSIG(status))
        else:
            event["code"] = os.WEXITSTATUS(status)
        self.channel.send(event)

    def _spared(self) -> set[int]:
        return {pid for pid, guest in self._guests.items() if guest.apart}

    def _pause_of(self, message: dict) -> Pause:
        guest = self._guests.get(message.get("pid"))
        return self._pause if guest is None else guest.pause

    def _end_guest(self, message: dict) -> dict:
        """Ends an adopted process and what is below it."""
        guest = self._guests.get(message.get("pid"))
        if guest is None:
            return {}
        deadline = time.monotonic() + KILL_SECONDS
        session = session_of(guest.pid)
        left: dict = {}

        def act() -> None:
            spared = self._spared() - {guest.pid}
            guest.signal(signal.SIGSTOP)
            strike(guest.pid, spared)
            guest.signal(signal.SIGKILL)
            for pid, started in below(os.getpid(), spared).items():
                if session and session_of(pid) == session:
                    signal_same(pid, started, signal.SIGKILL)

        def ended() -> bool:
            # Of the guest its handle tells: who is looked for while its ancestors end may not be found.
            gone = guest.ended()
            self.reap()
            left.clear()
            for pid, started in below(os.getpid()).items():
                if session and session_of(pid) == session and state_of(pid) not in (b"Z", b"X", b""):
                    left[pid] = started
            return gone and not left

        until(deadline, ended, act)
        return {"left": len(left) + (not guest.ended())}

    def _switch(self, act) -> dict:
        try:
            act()
        except OSError as e:
            return {"error": str(e), "errno": e.errno}
        return {}

    def reap(self) -> bool:
        """Collects what has ended, tells of what the host started; returns whether any child is left."""
        while True:
            ended = wait_any(0)
            if ended is None or ended[0] == 0:
                return ended is not None
            pid, status, usage = ended
            self._settle(pid)
            if pid in self._guests:
                self._tell(self._guests[pid], status)
            if pid not in self._running:
                continue  # adopted, or never executed
            self._running.discard(pid)
            if not LINUX:
                self._groups = {g for g in (*self._groups, pid) if _leaderless(g)}
            event = {"event": "exit", "pid": pid}
            if os.WIFSIGNALED(status):
                event["signal"] = signal_name(os.WTERMSIG(status))
            else:
                event["code"] = os.WEXITSTATUS(status)
            event.update(utime=usage.ru_utime, stime=usage.ru_stime, maxrss=usage.ru_maxrss * MAXRSS_UNIT)
            self.channel.send(event)

    def _kill_all(self, spared: set[int] = frozenset()) -> dict:
        """Ends everything, but for processes that are spared and what is below them."""
        deadline = time.monotonic() + KILL_SECONDS
        killed: set[int] = set()
        self._switch(self._pause.thaw)
        if not LINUX:
            return self._kill_groups(deadline)

        def act() -> None:
            killed.update(strike(os.getpid(), spared))

        def ended() -> bool:
            any_left = self.reap()
            return not any_left or (bool(spared) and not any_child(os.getpid(), spared))

        clean = until(deadline, ended, act)
        return {"killed": len(killed), "left": 0 if clean else len(below(os.getpid(), spared))}

    def _kill_groups(self, deadline: float) -> dict:
        """Without a subreaper only what stayed in its group can be found."""
        killed = len(self._running) + len(self._groups)

        def act() -> None:
            for group in (*self._running, *self._groups):
                try:
                    os.killpg(group, signal.SIGKILL)
                except OSError:
                    pass
            self._groups = {g for g in self._groups if _leaderless(g)}

        until(deadline, lambda: not self.reap() and not self._groups, act)
        return {"killed": killed, "left": len(self._running) + len(self._groups)}


def _signal_members(group: int, number: int, leader: Guest | None) -> None:
    """Signals those of our descendants that are in a group, but for a leader that was signalled."""
    for pid in below(os.getpid()):
        try:
            if os.getpgid(pid) == group and (leader is None or pid != leader.pid):
                os.kill(pid, number)
        except OSError:
            pass  # it has ended


def _leaderless(group: int) -> bool:
    """Reports whether a group has members while its leader's id is free. Such an id is not given away."""
    try:
        os.killpg(group, 0)
    except OSError:
        return False
    try:
        os.kill(group, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False


def signal_name(number: int) -> str:
    """Returns a signal's name; real-time ones have none of their own."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return "SIG%d" % number
