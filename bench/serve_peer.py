"""Measures jupyter_server's REST and websocket, one row a call: serve_peer.py FOLDER ROW COUNT.

FOLDER has the package; the kernel is ipykernel of this interpreter, as in the other rows. Prints one JSON object.
"""

import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid


def spread(seconds):
    seconds = sorted(seconds)
    return {"p50": seconds[len(seconds) // 2], "p99": seconds[min(len(seconds) - 1, int(len(seconds) * 0.99))]}


class Server:
    """A jupyter_server with one kernel."""

    def __init__(self, folder, home):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        self.token = secrets.token_hex(16)
        self.base = f"127.0.0.1:{port}"
        env = dict(os.environ, PYTHONPATH=folder, HOME=home, JUPYTER_CONFIG_DIR=home, JUPYTER_DATA_DIR=home)
        # A flood is not what its default limits are for.
        options = [
            f"--IdentityProvider.token={self.token}", f"--ServerApp.port={port}", "--ServerApp.ip=127.0.0.1", "--allow-root",
            "--no-browser", f"--ServerApp.root_dir={home}", "--ZMQChannelsWebsocketConnection.limit_rate=False",
        ]  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jupyter_server", *options], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(300):
            try:
                self.call("GET", "/api/status")
                break
            except OSError:
                time.sleep(0.1)
        self.kernel = self.call("POST", "/api/kernels", {"name": "python3"})["id"]

    def call(self, method, path, body=None):
        request = urllib.request.Request(
            f"http://{self.base}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            data = answer.read()
        return json.loads(data) if data else None

    def rss(self):
        with open(f"/proc/{self.process.pid}/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    async def connect(self):
        from tornado.websocket import websocket_connect

        url = f"ws://{self.base}/api/kernels/{self.kernel}/channels?session_id={uuid.uuid4()}&token={self.token}"
        return await websocket_connect(url, max_message_size=1 << 30)

    def close(self):
        try:
            self.call("DELETE", f"/api/kernels/{self.kernel}")
        finally:
            self.process.terminate()
            self.process.wait(30)


async def execute(conn, code, tell=lambda text: None):
    """Runs code and waits for its reply and its idle status."""
    identity = uuid.uuid4().hex
    header = {"msg_id": identity, "msg_type": "execute_request", "session": "bench", "username": "", "version": "5.3"}
    content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
    request = {"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content, "buffers": []}
    await conn.write_message(json.dumps(request))
    left = {"execute_reply", "idle"}
    while left:
        message = json.loads(await conn.read_message())
        if message["parent_header"].get("msg_id") != identity:
            continue
        kind = message["header"]["msg_type"]
        left.discard(kind)
        if kind == "status":
            left.discard(message["content"]["execution_state"])
        elif kind == "stream":
            tell(message["content"]["text"])


async def measure(server, row, n):
    if row == "viewers":
        await server.connect()
        base = server.rss()
        conns = [await server.connect() for _ in range(n)]
        await asyncio.sleep(2)
        return {"base_rss": base, "peak_rss": server.rss(), "messages": len(conns)}
    conn = await server.connect()
    await execute(conn, "1+1")
    if row == "execute":
        times = []
        for i in range(n + 20):
            start = time.perf_counter()
            await execute(conn, "1+1")
            if i >= 20:
                times.append(time.perf_counter() - start)
        return spread(times)
    seen = {"bytes": 0, "peak": server.rss()}
    base = seen["peak"]

    def tell(text):
        seen["bytes"] += len(text)
        seen["peak"] = max(seen["peak"], server.rss())

    code = "import sys\nfor i in range({}):\n    sys.stdout.write('y' * 99_999 + '\\n'); sys.stdout.flush()"
    start = time.perf_counter()
    await execute(conn, code.format(n // 100_000), tell)
    wall = time.perf_counter() - start
    return {"wall": wall, "bytes": seen["bytes"], "base_rss": base, "peak_rss": seen["peak"]}


def main():
    folder, row, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with tempfile.TemporaryDirectory() as home:
        server = Server(folder, home)
        try:
            print(json.dumps(asyncio.run(measure(server, row, n))))
        finally:
            server.close()


main()
