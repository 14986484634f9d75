"""A kernel started by launch.py, and a client of it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from jupyter_client import BlockingKernelClient

LAUNCH = str(Path(__file__).resolve().parent.parent / "launch.py")
PATIENCE = 30.0  # seconds


class Run:
    """What came of one execute_request, in the order of its coming."""

    def __init__(self, reply: dict, messages: list[dict]) -> None:
        self.reply = reply["content"]
        self.messages = messages

    def of(self, kind: str) -> list[dict]:
        return [m["content"] for m in self.messages if m["msg_type"] == kind]

    def texts(self, name: str = "stdout") -> list[str]:
        return [c["text"] for c in self.of("stream") if c["name"] == name]

    @property
    def stdout(self) -> str:
        return "".join(self.texts())

    @property
    def result(self) -> str:
        return self.of("execute_result")[0]["data"]["text/plain"]

    @property
    def kinds(self) -> list[str]:
        return [m["msg_type"] for m in self.messages if m["msg_type"] not in ("status", "execute_input")]


def write_connection(folder: str, key: str = "k") -> str:
    """Writes a connection file for unix sockets below folder."""
    ports = {name + "_port": i for i, name in enumerate(("shell", "iopub", "stdin", "control", "hb"), 1)}
    path = os.path.join(folder, "c.json")
    with open(path, "w") as f:
        json.dump(
            {**ports, "ip": folder + "/s", "key": key, "transport": "ipc", "signature_scheme": "hmac-sha256"},
            f,
        )
    return path


class Kernel:
    """A running kernel. Its working directory is ``folder``; what it writes itself goes to ``output``."""

    def __init__(self, python: str, *options: str, env: dict | None = None) -> None:
        self.folder = tempfile.mkdtemp(prefix="dsk")  # short, for the sockets' sake
        self.output = os.path.join(self.folder, "output")
        self.connection = write_connection(self.folder)
        home = os.path.join(self.folder, "home")
        os.mkdir(home)
        # A file that would break the start if the working directory could lend modules to it.
        Path(self.folder, "traitlets.py").write_text("raise ImportError('of the user')")
        self.env = {**os.environ, "HOME": home, "IPYTHONDIR": home + "/.ipython", **(env or {})}
        for name in ("JPY_PARENT_PID", "MPLBACKEND", "PYTEST_CURRENT_TEST"):
            if name not in (env or {}):
                self.env.pop(name, None)
        self.args = [python, LAUNCH, "-f", self.connection, *options]
        with open(self.output, "w") as out:
            self.process = subprocess.Popen(
                self.args,
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.client = connect(self.connection)

    def close(self) -> None:
        self.client.stop_channels()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def send(self, code: str, metadata: dict | None = None, stdin: bool = False) -> str:
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": stdin,
            "stop_on_error": False,
        }
        message = self.client.session.msg("execute_request", content, metadata=metadata)
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def run(
        self, code: str, env: dict | None = None, metadata: dict | None = None, stdin=None, on_message=None
    ) -> Run:
        metadata = {"ds_sandbox": {"env": env}} if env is not None else metadata
        return self.collect(self.send(code, metadata, stdin is not None), stdin, on_message)

    def collect(self, number: str, stdin=None, on_message=None) -> Run:
        """Waits for the reply and for idle; what comes later is not seen."""
        deadline = time.monotonic() + PATIENCE
        messages: list[dict] = []
        while True:
            assert time.monotonic() < deadline, (messages, Path(self.output).read_text())
            if stdin is not None and self.client.stdin_channel.msg_ready():
                request = self.client.get_stdin_msg(timeout=1)
                messages.append({"msg_type": "input_request", "content": request["content"]})
                self.client.input(stdin)
            if not self.client.iopub_channel.socket.poll(50):
                continue
            message = self.client.get_iopub_msg(timeout=1)
            if message["parent_header"].get("msg_id") != number:
                continue
            message["seen"] = time.monotonic()
            messages.append(message)
            if on_message:
                on_message(message)
            if message["content"].get("execution_state") == "idle":
                break
        return Run(self.reply_to(number), messages)

    replies: dict[str, dict]  # that came while another was waited for

    def reply_to(self, number: str) -> dict:
        """Waits for the reply to a request on the shell channel."""
        self.replies = getattr(self, "replies", {})
        while number not in self.replies:
            reply = self.client.get_shell_msg(timeout=PATIENCE)
            self.replies[reply["parent_header"].get("msg_id")] = reply
        return self.replies.pop(number)

    def collect_any(self, numbers: list[str]) -> None:
        """Waits for the replies to requests, all of which succeed."""
        for number in numbers:
            assert self.reply_to(number)["content"]["status"] == "ok"

    def interrupt(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)

    def run_interrupted(self, code: str, **options) -> Run:
        """Runs code and interrupts it once, when its first output has come."""
        begun = []

        def interrupt(message: dict) -> None:
            if message["msg_type"] == "stream" and not begun:
                begun.append(time.monotonic())
                self.interrupt()

        r = self.run(code, on_message=interrupt, **options)
        assert time.monotonic() - begun[0] < 10, "it took no notice"
        return r


def connect(connection: str) -> BlockingKernelClient:
    client = BlockingKernelClient(connection_file=connection)
    client.load_connection_file()
    client.start_channels()
    # On a busy machine jupyter_client takes a late heartbeat for a dead kernel; one that is dead stays so.
    for attempt in range(5):
        try:
            client.wait_for_ready(timeout=PATIENCE)
            break
        except RuntimeError:
            if attempt == 4:
                client.stop_channels()
                raise
    return client
