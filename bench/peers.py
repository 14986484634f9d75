"""Measures jupyter_client's blocking client, nbclient and papermill, one row a call: peers.py PEER ROW COUNT.

Prints one JSON object. The kernel is ipykernel of this interpreter, started the way each peer starts it.
"""

import asyncio
import json
import os
import resource
import sys
import tempfile
import time


def percentile(values, p):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * p))]


def spread(seconds):
    return {"p50": percentile(seconds, 0.5), "p99": percentile(seconds, 0.99)}


def peak_rss():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


LIMIT = 60  # seconds for one run: a client that lost the idle message would wait for ever

CODE = {
    "lines": "for i in range({n}):\n    print(i, flush=True)",
    "big": "print('x' * {n})",
    "prints": "for i in range({n}):\n    print(i)",
    # each write is flushed, so that each is a message
    "gigabyte": "import sys\nfor i in range({n}):\n    sys.stdout.write('y' * 99_999 + '\\n'); sys.stdout.flush()",
}


class JupyterClient:
    def __enter__(self):
        from jupyter_client.manager import start_new_kernel

        self.manager, self.client = start_new_kernel(kernel_name="python3")
        return self

    def __exit__(self, *exc):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def run(self, code):
        """Runs code; returns the number of stream messages and their lines and bytes."""
        seen = {"messages": 0, "lines": 0, "bytes": 0}

        def hook(msg):
            if msg["header"]["msg_type"] == "stream":
                text = msg["content"]["text"]
                seen["messages"] += 1
                seen["lines"] += text.count("\n")
                seen["bytes"] += len(text)

        try:
            self.client.execute_interactive(code, output_hook=hook, timeout=LIMIT)
        except TimeoutError:
            seen["hung"] = True
        return seen


class NBClient:
    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass

    @staticmethod
    def notebook(*codes):
        import nbformat.v4

        return nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(c) for c in codes],
            metadata={"kernelspec": {"name": "python3", "display_name": "p", "language": "python"}},
        )

    def times(self, codes):
        """Runs cells; returns the seconds each took."""
        from nbclient import NotebookClient

        at, out = {}, []
        client = NotebookClient(
            self.notebook(*codes),
            timeout=600,
            on_cell_execute=lambda cell, cell_index: at.__setitem__(cell_index, time.perf_counter()),
            on_cell_executed=lambda cell, cell_index, execute_reply: out.append(time.perf_counter() - at[cell_index]),
        )
        client.execute()
        return out

    def run(self, code):
        from nbclient import NotebookClient
        from nbclient.exceptions import CellTimeoutError

        client = NotebookClient(self.notebook("pass", code), timeout=LIMIT)
        seen = {"messages": 0, "lines": 0, "bytes": 0}

        def count(cell, cell_index, execute_reply):
            for output in cell["outputs"]:
                seen["messages"] += 1
                seen["lines"] += output["text"].count("\n")
                seen["bytes"] += len(output["text"])

        at = {}
        client.on_cell_execute = lambda cell, cell_index: at.setdefault(cell_index, (time.perf_counter(), time.process_time()))
        client.on_cell_executed = count
        try:
            client.execute()
        except CellTimeoutError:
            seen["hung"] = True
        end = (time.perf_counter(), time.process_time())
        seen["wall"], seen["cpu"] = end[0] - at[1][0], end[1] - at[1][1]
        return seen


# What is asked of a kernel as soon as it is there.
FIRST = {
    "first": "1+1",
    "first-pandas": "import pandas as pd\nint(pd.DataFrame({'a': [1, 2]}).a.sum())",
    "first-chart": "import matplotlib.pyplot as plt\nplt.plot([1, 2, 4]); plt.title('t'); plt.show()",
}


def savefig(n):
    """Draws a chart and writes its PNG, without any kernel."""
    import io

    import matplotlib.pyplot as plt

    times = []
    for _ in range(n):
        start = time.perf_counter()
        plt.plot([1, 2, 4])
        plt.title("t")
        plt.savefig(io.BytesIO(), format="png")
        plt.close()
        times.append(time.perf_counter() - start)
    return spread(times)


def first(peer, n, code="1+1"):
    times = []
    for _ in range(n):
        start = time.perf_counter()
        if peer == "jupyter_client":
            with JupyterClient() as kernel:
                kernel.run(code)
                times.append(time.perf_counter() - start)
        else:
            NBClient().times([code])  # includes the end of the kernel: nbclient has no way to leave it out
            times.append(time.perf_counter() - start)
    return spread(times)


def pool(code, n):
    """Measures the first answers of kernels that were started before, two at a time."""
    times = []
    while len(times) < n:
        kernels = [JupyterClient().__enter__() for _ in range(min(2, n - len(times)))]
        for kernel in kernels:
            start = time.perf_counter()
            kernel.run(code)
            times.append(time.perf_counter() - start)
            kernel.__exit__()
    return spread(times)


def crowd(n):
    """Starts kernels at once, and lets each return a pandas result; then each answers again."""
    from concurrent.futures import ThreadPoolExecutor

    kernels, answers, again = [], [], []

    def one(_):
        kernel = JupyterClient().__enter__()
        kernels.append(kernel)
        kernel.run(FIRST["first-pandas"])
        answers.append(1)

    start = time.perf_counter()
    with ThreadPoolExecutor(n) as threads:
        futures = [threads.submit(one, i) for i in range(n)]
        for future in futures:
            future.exception()
    wall = time.perf_counter() - start
    for kernel in kernels:
        if "hung" not in kernel.run("1+1"):
            again.append(1)
        kernel.__exit__()
    return {"wall": wall, "lines": len(answers), "messages": len(again)}


IMPORTS = "import os, numpy, pandas, matplotlib.pyplot"


def private(n):
    """Measures what a kernel has for itself, idle and after a chart, and its restarts."""

    def memory(kernel):
        with open(f"/proc/{kernel.manager.provisioner.pid}/smaps_rollup") as f:
            return 1024 * sum(int(line.split()[1]) for line in f if line.startswith("Private_"))

    times = []
    with JupyterClient() as kernel:
        kernel.run(IMPORTS)
        idle = memory(kernel)
        kernel.run(FIRST["first-chart"])
        drawn = memory(kernel)
        for _ in range(n):
            start = time.perf_counter()
            kernel.manager.restart_kernel()
            kernel.client.wait_for_ready(timeout=LIMIT)
            times.append(time.perf_counter() - start)
    return {**spread(times), "base_rss": idle, "peak_rss": drawn}


def small(peer, n):
    if peer == "nbclient":
        return spread(NBClient().times(["1+1"] * (n + 20))[20:])
    with JupyterClient() as kernel:
        times = []
        for i in range(n + 20):
            start = time.perf_counter()
            kernel.run("1+1")
            if i >= 20:
                times.append(time.perf_counter() - start)
    return spread(times)


def stream(peer, row, n):
    code = CODE[row].format(n=n)
    if peer == "nbclient":
        out = NBClient().run(code)
    else:
        with JupyterClient() as kernel:
            kernel.run("pass")
            wall, cpu = time.perf_counter(), time.process_time()
            out = kernel.run(code)
            out["wall"], out["cpu"] = time.perf_counter() - wall, time.process_time() - cpu
    out["peak_rss"] = peak_rss()
    return out


def notebook(peer, row, n):
    """Runs a notebook n times, its kernel's start and end included."""
    with open(os.path.join(os.path.dirname(__file__), "cells.json")) as f:
        codes = [code for count, code in json.load(f)[row] for _ in range(count)]
    times = []
    for _ in range(n):
        start = time.perf_counter()
        if peer == "papermill":
            papermill(NBClient.notebook(*codes))
        else:
            NBClient().times(codes)
        times.append(time.perf_counter() - start)
    return spread(times)


def papermill(nb):
    import nbformat
    from papermill import execute_notebook

    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "in.ipynb")
        nbformat.write(nb, source)
        execute_notebook(source, os.path.join(folder, "out.ipynb"), progress_bar=False)


def main():
    peer, row, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if sys.platform == "win32":
        asyncio.set_event_loop_policy(asyncio.WindowsSelectorEventLoopPolicy())
    import jupyter_client  # noqa: F401  (imports are not what is measured)

    if peer != "jupyter_client":
        import nbclient  # noqa: F401
        import nbformat.v4  # noqa: F401

    before = peak_rss()
    if peer == "papermill":
        import papermill as _  # noqa: F401
    if row == "savefig":
        result = savefig(n)
    elif peer == "pool":
        result = pool(FIRST.get("first-" + row, "1+1"), n)
    elif row == "crowd":
        result = crowd(n)
    elif row == "private":
        result = private(n)
    elif row in FIRST:
        result = first(peer, n, FIRST[row])
    elif row in ("notebook", "mixed"):
        result = notebook(peer, row, n)
    else:
        result = small(peer, n) if row.startswith("small") else stream(peer, row, n)
    result.setdefault("base_rss", before)
    print(json.dumps(result))


main()
