"""Measures the plain way to run code in a container: docker_peer.py ROW COUNT.

`docker run` of the image of our sandboxes with an ipykernel, whose ports are published on this machine alone, and jupyter_client.
Prints one JSON object.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid

from jupyter_client.blocking import BlockingKernelClient

IMAGE = os.environ.get("DS_SANDBOX_IMAGE", "ds-sandbox-kernel")
PYTHON = "/opt/ds-sandbox/python/bin/python"
CHANNELS = ("shell", "iopub", "stdin", "control", "hb")
LIMIT = 60  # seconds for one answer
SIZE = 100_000_000


def docker(*args):
    done = subprocess.run(["docker", *args], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"docker {args[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Container:
    def __init__(self):
        ports, key = dict(zip(CHANNELS, free_ports(len(CHANNELS)))), uuid.uuid4().hex
        published = [word for port in ports.values() for word in ("-p", f"127.0.0.1:{port}:{port}")]
        flags = [f"--{name}={port}" for name, port in ports.items()]
        run = ["run", "-d", *published, "--user", "1000:1000", "--entrypoint", PYTHON, IMAGE]
        self.id = docker(*run, "-m", "ipykernel_launcher", "--ip=0.0.0.0", f"--Session.key={key}", *flags)
        info = {f"{name}_port": port for name, port in ports.items()}
        self.client = BlockingKernelClient()
        self.client.load_connection_info({**info, "ip": "127.0.0.1", "transport": "tcp", "key": key, "signature_scheme": "hmac-sha256"})
        self.client.start_channels()
        self.wait(time.monotonic() + LIMIT)

    def wait(self, deadline):
        while True:
            try:
                return self.client.wait_for_ready(timeout=LIMIT)
            except RuntimeError:  # without a heartbeat for a second it takes the kernel for dead, which is only being started
                if time.monotonic() > deadline:
                    self.end()
                    raise

    def run(self, code):
        return self.client.execute_interactive(code, timeout=LIMIT, output_hook=lambda message: None)

    def end(self):
        self.client.stop_channels()
        docker("rm", "-f", "-v", self.id)


def timed(do, *args):
    start = time.perf_counter()
    do(*args)
    return time.perf_counter() - start


def spread(seconds):
    seconds = sorted(seconds)
    at = [seconds[min(len(seconds) - 1, int(len(seconds) * p))] for p in (0.5, 0.99)]
    return {"p50": at[0], "p99": at[1], "best": seconds[0], "worst": seconds[-1]}


def first(n):
    """Measures from `docker run` to the first result."""
    times = []
    for _ in range(n):
        start = time.perf_counter()
        container = Container()
        container.run("1+1")
        times.append(time.perf_counter() - start)
        container.end()
    return spread(times)


def parked(n):
    """Measures the first answers of containers that were started before."""
    times = []
    for _ in range(n):
        container = Container()
        times.append(timed(container.run, "1+1"))
        container.end()
    return spread(times)


def small(n):
    container = Container()
    times = [timed(container.run, "1+1") for _ in range(n + 20)][20:]
    container.end()
    return spread(times)


def files(n):
    container, ins, outs = Container(), [], []
    with tempfile.TemporaryDirectory() as folder:
        source, target = os.path.join(folder, "in"), os.path.join(folder, "out")
        with open(source, "wb") as f:
            f.write(b"0123456789" * (SIZE // 10))
        for _ in range(n):
            ins.append(timed(docker, "cp", "-q", source, f"{container.id}:/home/user/big"))
            outs.append(timed(docker, "cp", "-q", f"{container.id}:/home/user/big", target))
    container.end()
    out = spread(outs)
    return {**spread(ins), "floor": out["p50"], "floor_best": out["best"]}


def kill(n):
    times = []
    for _ in range(n):
        container = Container()
        container.client.execute("while True: pass")
        time.sleep(0.2)
        times.append(timed(container.end))
    return spread(times)


def main():
    row, n = sys.argv[1], int(sys.argv[2])
    print(json.dumps({"first": first, "parked": parked, "small": small, "files": files, "kill": kill}[row](n)))


main()
