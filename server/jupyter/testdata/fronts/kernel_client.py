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


def polite_shutdown_ends_the_kernel():
    manager = KernelHttpManager(URL, TOKEN)
    manager.start_kernel(name="python3")
    manager.client.start_channels()
    manager.shutdown_kernel()  # asks the kernel over the websocket, and then the server
    assert not manager.is_alive()
    assert manager.list_kernels() == []


kernel = JupyterKernelClient(server_url=URL, token=TOKEN)


def run_and_variables():
    kernel.start()
    assert kernel.kernel_info["language_info"]["name"] == "python", kernel.kernel_info
    reply = kernel.execute("x = 6 * 7\nprint('hi')\nx")
    assert reply["status"] == "ok", reply
    assert text(reply) == "hi\n", reply
    assert any(o["output_type"] == "execute_result" and o["data"]["text/plain"] == "42" for o in reply["outputs"]), reply
    assert text(kernel.execute("print(x)")) == "42\n"
    reply = kernel.execute("1 / 0")
    assert reply["status"] == "error" and reply["outputs"][-1]["ename"] == "ZeroDivisionError", reply


def input_is_asked():
    said = []
    kernel.execute_interactive(
        "print('hello', input('name? '))",
        allow_stdin=True,
        stdin_hook=lambda msg: kernel._manager.client.input("Ada"),
        output_hook=lambda msg: said.append(msg["content"].get("text", "")),
    )
    assert "hello Ada" in "".join(said), said


def restart_and_interrupt():
    kernel.execute("x = 1")
    kernel.restart()
    assert kernel.execute("x")["status"] == "error"
    kernel.interrupt()
    assert text(kernel.execute("print('still there')")) == "still there\n"


def second_client_sees_the_kernel():
    kernel.execute("shared = 'yes'")
    other = JupyterKernelClient(server_url=URL, token=TOKEN, kernel_id=kernel.id)
    other.start()
    assert text(other.execute("print(shared)")) == "yes\n"
    assert len(kernel.list_kernels()) == 1
    assert kernel.is_alive()


failed = False
for check in [
    polite_shutdown_ends_the_kernel,
    run_and_variables,
    input_is_asked,
    restart_and_interrupt,
    second_client_sees_the_kernel,
]:
    try:
        check()
        print("ok", check.__name__, flush=True)
    except BaseException:
        failed = True
        print(f"FAIL {check.__name__}: {traceback.format_exc().replace(chr(10), ' | ')}", flush=True)
sys.stdout.flush()
os._exit(failed)  # stopping a client takes ten seconds: a thread of its own sleeps on
