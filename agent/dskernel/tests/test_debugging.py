"""The debugger: not loaded by a start, and there when it is asked for."""

import contextlib
import queue
import time

import pytest
from kernel import Kernel


@pytest.fixture
def kernel(kernel_python):
    k = Kernel(kernel_python)
    if k.run("import importlib.util; importlib.util.find_spec('debugpy') is None").result == "True":
        k.close()
        pytest.skip("no debugpy")
    yield k
    k.close()


def debug(kernel, command, **arguments):
    client = kernel.client
    content = {"type": "request", "seq": 1, "command": command, "arguments": arguments}
    message = client.session.msg("debug_request", content)
    client.control_channel.send(message)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(queue.Empty):
            reply = client.get_control_msg(timeout=1)
            if reply["parent_header"].get("msg_id") == message["header"]["msg_id"]:
                return reply["content"]
    raise AssertionError("no reply to " + command)


def test_debugger_is_loaded_on_first_use(kernel):
    loaded = "import sys; [m for m in ('debugpy', 'pydevd') if m in sys.modules]"
    assert kernel.run(loaded).result == "[]"
    info = debug(kernel, "debugInfo")
    assert info["success"] and info["body"]["isStarted"] is False
    reply = debug(kernel, "initialize", clientID="t", adapterID="", pathFormat="path", linesStartAt1=True)
    assert reply["success"], reply
    attached = debug(kernel, "attach")
    assert attached.get("success"), attached
    assert debug(kernel, "debugInfo")["body"]["isStarted"] is True
    assert kernel.run("sorted(m for m in ('debugpy', 'pydevd') if m in sys.modules)").result != "[]"
    assert kernel.run("6 * 7").result == "42"


def test_kernel_says_that_it_can_debug(kernel):
    client = kernel.client
    number = client.kernel_info()
    while True:
        reply = client.get_shell_msg(timeout=30)
        if reply["parent_header"].get("msg_id") == number:
            break
    features = reply["content"].get("supported_features", [])
    assert "debugger" in features or reply["content"].get("debugger") is True or not features
