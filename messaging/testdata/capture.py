"""Records what a real ipykernel sends, as seeds and golden data: capture.py OUT.json (run it with the kernel's Python).

Every message type that can be provoked is there at least once. The key is in the file, so signatures can be verified.
"""

import base64
import hashlib
import hmac
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid

import ipykernel
import zmq
from jupyter_client.session import Session

CELLS = [
    "x = 1; x",
    "import sys; print('out'); print('err', file=sys.stderr)",
    "from IPython.display import display, clear_output, HTML\nh = display(HTML('<b>ü</b>'), display_id='d1')\n"
    "h.update(HTML('<i>2</i>'))\nclear_output(wait=True)",
    "1/0",
    "input('name? ')",
    "len?",
    "from ipykernel.comm import Comm\nc = Comm(target_name='t', data={'a': 1}, buffers=[b'\\x00\\x01', b''])\n"
    "c.send({'b': 2}, buffers=[b'zz'])\nc.close()",
    "print('\\udcff')",
    "get_ipython().display_pub.publish({'application/json': {'nan': float('nan')}})",
]


def scrubbed(frames, key):
    """Takes the names of the recording machine out of a message and signs it again."""
    at = frames.index(b"<IDS|MSG>")
    parts = frames[at + 2 : at + 6]
    names = {sys.prefix: "/env", sys.base_prefix: "/base", os.path.expanduser("~"): "/home/user", socket.gethostname(): "host"}
    for name, other in names.items():
        if len(name) > 3 and name != "/usr":
            parts = [p.replace(name.encode(), other.encode()) for p in parts]
    mac = hmac.new(key.encode(), b"".join(parts), hashlib.sha256).hexdigest().encode()
    return [*frames[: at + 1], mac, *parts, *frames[at + 6 :]]


def main():
    folder = tempfile.mkdtemp()
    key = "capture-key"
    path = os.path.join(folder, "kernel.json")
    info = dict(shell_port=1, iopub_port=2, stdin_port=3, control_port=4, hb_port=5, ip=os.path.join(folder, "s"))
    info.update(key=key, transport="ipc", signature_scheme="hmac-sha256", kernel_name="python3")
    with open(path, "w") as f:
        json.dump(info, f)
    kernel = subprocess.Popen([sys.executable, "-m", "ipykernel_launcher", "-f", path, "--HistoryManager.hist_file=:memory:"])
    while not all(os.path.exists(f"{info['ip']}-{n}") for n in range(1, 6)):
        time.sleep(0.05)
    context = zmq.Context()
    identity = uuid.uuid4().hex.encode()
    sockets = {}
    for channel, kind, port in (("shell", zmq.DEALER, 1), ("iopub", zmq.SUB, 2), ("stdin", zmq.DEALER, 3), ("control", zmq.DEALER, 4)):
        s = sockets[channel] = context.socket(kind)
        s.linger = 0
        if kind == zmq.DEALER:
            s.identity = identity
        else:
            s.setsockopt(zmq.SUBSCRIBE, b"")
            s.setsockopt(zmq.SUBSCRIBE, b"nonce")
        s.connect(f"ipc://{info['ip']}-{port}")
    time.sleep(0.3)
    session = Session(key=key.encode(), signature_scheme="hmac-sha256")
    recorded = []

    def drain(until, seconds=10):
        """Records what comes until a message of the given type, and a moment longer."""
        poller = zmq.Poller()
        for s in sockets.values():
            poller.register(s, zmq.POLLIN)
        end = time.time() + seconds
        while time.time() < end:
            for s, _ in poller.poll(50):
                frames = s.recv_multipart()
                channel = next(name for name, other in sockets.items() if other is s)
                clean = [base64.b64encode(f).decode() for f in scrubbed(frames, key)]
                recorded.append({"channel": channel, "frames": clean})
                kind = json.loads(frames[frames.index(b"<IDS|MSG>") + 2])["msg_type"]
                if kind == "input_request":
                    session.send(sockets["stdin"], "input_reply", {"value": "ada"})
                if kind == until:
                    end = min(end, time.time() + 0.3)

    def ask(kind, content, channel="shell", until=None):
        session.send(sockets[channel], kind, content)
        drain(until or kind.replace("_request", "_reply"), 10 if until is None else 1)

    ask("kernel_info_request", {})
    for code in CELLS:
        ask("execute_request", {"code": code, "silent": False, "allow_stdin": True, "stop_on_error": True})
    ask("inspect_request", {"code": "len", "cursor_pos": 3, "detail_level": 0})
    ask("complete_request", {"code": "pri", "cursor_pos": 3})
    ask("is_complete_request", {"code": "for i in x:"})
    ask("history_request", {"output": True, "raw": True, "hist_access_type": "tail", "n": 2})
    ask("history_request", {"output": False, "raw": True, "hist_access_type": "tail", "n": 2})
    ask("comm_info_request", {})
    ask("connect_request", {})
    ask("comm_open", {"comm_id": "c", "target_name": "nobody", "data": {}}, until="comm_close")
    ask("usage_request", {}, "control")
    ask("debug_request", {"type": "request", "seq": 1, "command": "debugInfo"}, "control")
    if not ipykernel.__version__.startswith("6."):
        ask("create_subshell_request", {}, "control")
        ask("list_subshell_request", {}, "control")
    ask("interrupt_request", {}, "control")
    for code in ("raise ValueError('abort the next')", "2"):
        session.send(sockets["shell"], "execute_request", {"code": code, "silent": False, "stop_on_error": True})
    drain("nothing", 1)
    ask("shutdown_request", {"restart": False}, "control")
    kernel.wait(10)
    with open(sys.argv[1], "w") as f:
        json.dump({"ipykernel": ipykernel.__version__, "key": key, "messages": recorded}, f, indent=0)
        f.write("\n")


main()
