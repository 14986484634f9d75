"""launch.py: a kernel like the stock one, except where it says otherwise."""

import ast
import base64
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from kernel import LAUNCH, Kernel, connect, write_connection
from supervise import host, start


@pytest.fixture(scope="module")
def kernel(kernel_python):
    k = Kernel(kernel_python)
    yield k
    k.close()


def test_namespace_and_path_are_those_of_a_stock_kernel(kernel):
    k = Kernel(kernel.args[0])
    try:
        r = k.run("[n for n in globals() if not n.startswith('_')]")
        assert set(ast.literal_eval(r.result)) <= {"In", "Out", "get_ipython", "exit", "quit", "open"}
    finally:
        k.close()
    r = kernel.run("import sys, os; (sys.path, sys.argv[1:2], os.getcwd())")
    path, argv, cwd = ast.literal_eval(r.result)
    assert os.path.dirname(LAUNCH) not in path and "" in path and argv == ["-f"]
    assert os.path.realpath(cwd) == os.path.realpath(kernel.folder)
    for name in ("streams", "kernelapp", "runenv", "supervisor", "wire", "keeper", "launch"):
        r = kernel.run("import " + name)
        assert r.reply["ename"] == "ModuleNotFoundError", name


def test_modules_of_the_working_directory_can_be_imported(kernel):
    Path(kernel.folder, "streams.py").write_text("whose = 'the user'")
    assert kernel.run("import streams; streams.whose").result == "'the user'"


def test_main_is_the_users_module(kernel):
    code = """
import pickle, sys
class Point:
    def __init__(self, x): self.x = x
copy = pickle.loads(pickle.dumps(Point(7)))
if __name__ == "__main__":
    print(copy.x, type(copy) is Point, Point.__module__, sys.modules["__main__"].Point is Point)
"""
    assert kernel.run(code).stdout == "7 True __main__ True\n"


def test_history_works_and_leaves_no_file(kernel_python):
    k = Kernel(kernel_python)
    try:
        k.run("6 * 7")
        k.run("x = _")
        r = k.run("(In[1], Out[1], x, get_ipython().history_manager.hist_file)")
        assert ast.literal_eval(r.result) == ("6 * 7", 42, 42, ":memory:")
        assert k.run("%history -n 1-2").stdout == "   1: 6 * 7\n   2: x = _\n"
        assert not list(Path(k.folder).rglob("*.sqlite*"))
    finally:
        k.close()


def test_options_of_ipykernel_are_obeyed(kernel_python):
    k = Kernel(
        kernel_python,
        "--IPKernelApp.outstream_class=ipykernel.iostream.OutStream",
        "--InteractiveShell.cache_size=3",
    )
    try:
        r = k.run(
            "import sys; shell = get_ipython()\n"
            "(type(sys.stdout).__name__, shell.cache_size, shell.kernel._execute_sleep)"
        )
        assert ast.literal_eval(r.result) == ("OutStream", 3, 0.0)
    finally:
        k.close()


def test_bare_plot_becomes_a_png(kernel):
    if kernel.run("import matplotlib").reply["status"] != "ok":
        pytest.skip("no matplotlib")
    r = kernel.run("import matplotlib.pyplot as plt\nplt.plot([1, 2])")
    assert r.kinds == ["execute_result", "display_data"]
    data = r.of("display_data")[0]["data"]
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert data["text/plain"].startswith("<Figure size")


def test_traceback_names_the_line(kernel):
    r = kernel.run("x = 1\n\n1/0")
    assert r.kinds == ["error"] and r.reply["ename"] == "ZeroDivisionError"
    assert "----> 3" in re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(r.of("error")[0]["traceback"]))


def test_interrupt_ends_the_run_and_nothing_else(kernel):
    r = kernel.run_interrupted("import time\nprint('before')\ntime.sleep(60)")
    assert r.reply["ename"] == "KeyboardInterrupt"
    assert r.stdout == "before\n"
    kernel.interrupt()  # an idle kernel takes no notice
    assert kernel.run("1 + 1").result == "2"


def test_kernel_under_a_keeper_neither_polls_nor_talks(kernel_python, tmp_path_factory):
    for parent in (False, True):
        with host(kernel_python) as h:
            keeper, pid = h.keep()
            folder = tempdir = str(tmp_path_factory.mktemp("k"))
            env = {"PATH": os.environ["PATH"], "HOME": tempdir, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
            if parent:
                env["JPY_PARENT_PID"] = str(pid)
            connection = write_connection(folder)
            with open(folder + "/output", "w") as out:
                answer = start(
                    keeper,
                    [kernel_python, LAUNCH, "-f", connection],
                    env=env,
                    cwd=folder,
                    stdout=out.fileno(),
                )
            client = connect(connection)
            try:
                code = "import threading; names = [type(t).__name__ for t in threading.enumerate()]"
                code += "; assert ('ParentPollerUnix' in names) is %s" % parent
                reply = client.execute_interactive(code, timeout=20, output_hook=lambda m: None)
                assert reply["content"]["status"] == "ok", reply
                keeper.call("signal", pid=answer["pid"], signal="SIGINT", group=True)
                client.execute_interactive("1", timeout=20, output_hook=lambda m: None)
                client.shutdown()
                assert keeper.event("exit", answer["pid"])["code"] == 0
                assert Path(folder, "output").read_text() == ""
            finally:
                client.stop_channels()


def test_missing_ipykernel_is_said_in_one_line(python):
    r = subprocess.run(
        [python, "-S", LAUNCH, "-f", "none.json"], capture_output=True, text=True, env={"PATH": os.defpath}
    )
    assert r.returncode == 1 and r.stdout == ""
    assert r.stderr.count("\n") == 1 and "No module named 'ipykernel'" in r.stderr
    assert python in r.stderr


def test_exit_keeps_the_output_and_atexit_is_quiet(kernel_python):
    k = Kernel(kernel_python)
    try:
        code = "import atexit; atexit.register(lambda: print('late'))\nprint('bye', end='')"
        code += "\nget_ipython().ask_exit()"
        assert k.run(code).stdout == "bye"
        assert k.process.wait(20) == 0
        assert "Traceback" not in Path(k.output).read_text()
    finally:
        k.close()


# Variables of a run.

SHOW = "import os; print(*[os.environ.get(n) for n in ('DS_A', 'DS_B', 'DS_C')])"


def test_variables_hold_for_one_run_only(kernel):
    kernel.run("import os; os.environ['DS_B'] = 'old'; os.environ.pop('DS_A', None)")
    assert kernel.run(SHOW, env={"DS_A": "1", "DS_B": "ä = 2"}).stdout == "1 ä = 2 None\n"
    assert kernel.run(SHOW).stdout == "None old None\n"
    # Children get them, and what else the run sets stays.
    r = kernel.run(
        "import subprocess; os.environ['DS_C'] = 'kept'; subprocess.check_output(['printenv', 'DS_A'])",
        env={"DS_A": "x"},
    )
    assert r.result == "b'x\\n'"
    assert kernel.run(SHOW).stdout == "None old kept\n"
    kernel.run("del os.environ['DS_C']")


@pytest.mark.parametrize(
    "code, name", [("1/0", "ZeroDivisionError"), ("def", "SyntaxError"), ("raise SystemError", "SystemError")]
)
def test_variables_go_when_a_run_raises(kernel, code, name):
    kernel.run("import os; os.environ['DS_B'] = 'old'")
    assert kernel.run(code, env={"DS_A": "1", "DS_B": "2"}).reply["ename"] == name
    assert kernel.run(SHOW).stdout == "None old None\n"


@pytest.mark.parametrize("sleep", ["import time; time.sleep(60)", "import asyncio; await asyncio.sleep(60)"])
def test_variables_go_when_a_run_is_interrupted(kernel, sleep):
    kernel.run("import os; os.environ['DS_B'] = 'old'")
    r = kernel.run_interrupted(SHOW + "\n" + sleep, env={"DS_A": "1", "DS_B": "2"})
    assert r.stdout == "1 2 None\n"
    assert r.reply["ename"] in ("KeyboardInterrupt", "CancelledError")
    assert kernel.run(SHOW).stdout == "None old None\n"


def test_variables_hold_across_await(kernel):
    code = (
        "import asyncio, os\nfor _ in range(3):\n    await asyncio.sleep(0.01)\n    print(os.environ['DS_A'])"
    )
    assert kernel.run(code, env={"DS_A": "1"}).stdout == "1\n1\n1\n"
    assert kernel.run("import os; 'DS_A' in os.environ").result == "False"


def test_variables_that_cannot_be_are_left_out(kernel):
    env = {"DS_A": "1", "": "x", "DS=B": "x", "DS\0": "x", "DS_N": 5, "DS_NUL": "a\0b", "DS_C": "3"}
    kernel.run("import os; before = dict(os.environ)")
    assert kernel.run(SHOW, env=env).stdout.startswith("1 ")
    assert kernel.run("dict(os.environ) == before").result == "True"
    for metadata in (
        {"ds_sandbox": 7},
        {"ds_sandbox": {"env": ["DS_A"]}},
        {"ds_sandbox": {}},
        {"ds_sandbox": None},
        {},
    ):
        assert kernel.run("dict(os.environ) == before", metadata=metadata).result == "True"


def test_kernel_killed_is_gone(kernel_python):
    k = Kernel(kernel_python)
    try:
        k.process.send_signal(signal.SIGTERM)
        assert k.process.wait(10) == -signal.SIGTERM
    finally:
        k.close()
