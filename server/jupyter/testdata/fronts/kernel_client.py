"""jupyter_kernel_client against BASE_URL with TOKEN, in the framing that it uses by itself.

With its other one, JupyterSubprotocol.V1, release 1.0.2 hears no server: its own log line of each message fails.
Each line of output is a check: "ok NAME" or "FAIL NAME: why".
"""

import os
import sys
import traceback

from jupyter_kernel_client import JupyterKernelClient, KernelHttpManager

URL, TOKEN = os.environ["BASE_URL"], os.environ["TOKEN"]


def text(reply):
    return "".join(o.get("text", "") for o in reply["outputs"] if o["output_type"] == "stream")


def client(**kwargs):
    return JupyterKernelClient(server_url=URL, token=TOKEN, **kwargs)


def run_and_variables():
    with client() as kernel:
        reply = kernel.execute("x = 6 * 7\nprint('hi')\nx")
        assert reply["status"] == "ok", reply
        assert text(reply) == "hi\n", reply
        assert any(o["output_type"] == "execute_result" and o["data"]["text/plain"] == "42" for o in reply["outputs"]), reply
        reply = kernel.execute("print(x)")
        assert text(reply) == "42\n", reply
        reply = kernel.execute("1 / 0")
        assert reply["status"] == "error" and reply["outputs"][-1]["ename"] == "ZeroDivisionError", reply


def input_is_asked():
    with client() as kernel:
        outputs = []
        kernel._manager.client.execute_interactive(
            "print('hello', input('name? '))",
            allow_stdin=True,
            stdin_hook=lambda msg: kernel._manager.client.input("Ada"),
            output_hook=outputs.append,
            timeout=60,
        )
        said = "".join(m["content"]["text"] for m in outputs if m["msg_type"] == "stream")
        assert "hello Ada" in said, outputs


def restart_and_interrupt():
    with client() as kernel:
        kernel.execute("x = 1")
        kernel.restart()
        reply = kernel.execute("x")
        assert reply["status"] == "error", reply
        kernel.interrupt()
        assert text(kernel.execute("print('still there')")) == "still there\n"


def second_client_sees_the_kernel():
    with client() as kernel:
        kernel.execute("shared = 'yes'")
        other = client(kernel_id=kernel.id)
        other.start()
        try:
            assert text(other.execute("print(shared)")) == "yes\n"
        finally:
            other.stop(shutdown_kernel=False)
        assert text(kernel.execute("print(shared)")) == "yes\n", "it lives on"


def polite_shutdown_ends_the_kernel():
    manager = KernelHttpManager(URL, TOKEN)
    manager.start_kernel(name="python3")
    manager.client.start_channels()
    manager.shutdown_kernel()  # asks the kernel over the websocket, and then the server
    assert not manager.is_alive()
    assert manager.list_kernels() == []


failed = False
for check in [
    run_and_variables,
    input_is_asked,
    restart_and_interrupt,
    second_client_sees_the_kernel,
    polite_shutdown_ends_the_kernel,
]:
    try:
        check()
        print("ok", check.__name__, flush=True)
    except BaseException:
        failed = True
        print(f"FAIL {check.__name__}: {traceback.format_exc().replace(chr(10), ' | ')}", flush=True)
sys.exit(failed)
