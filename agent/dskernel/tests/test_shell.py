"""SandboxShell: how code ends; RunArgs: how a script begins."""

import pytest
from kernel import Kernel


@pytest.fixture(scope="module")
def kernel(kernel_python):
    k = Kernel(kernel_python)
    yield k
    k.close()


@pytest.mark.parametrize(
    "end", ["sys.exit()", "sys.exit(0)", "exit()", "quit()", "raise SystemExit", "exit(0)"]
)
def test_end_without_complaint_is_no_error(kernel, end):
    r = kernel.run("import sys\nprint(1)\n%s\nprint('too far')" % end)
    assert r.reply["status"] == "ok"
    assert [m["msg_type"] for m in r.messages if m["msg_type"] in ("stream", "error")] == ["stream"]
    assert r.stdout == "1\n"
    assert kernel.run("import asyncio\nawait asyncio.sleep(0)\n" + end).kinds == []
    assert kernel.run("exit").kinds == []  # IPython calls it


@pytest.mark.parametrize("end", ["sys.exit(4)", "exit(4)", "quit(4)"])
def test_end_with_a_code_is_an_error_without_advice(kernel, end):
    r = kernel.run("import sys\n%s\nprint('too far')" % end)
    assert (r.reply["status"], r.reply["ename"], r.reply["evalue"]) == ("error", "SystemExit", "4")
    assert r.kinds == ["error"]
    assert kernel.run("'alive'").result == "'alive'"


def test_script_has_its_arguments_and_its_name(kernel):
    look = "import sys; sys.argv, globals().get('__file__')"
    before = kernel.run(look).result
    assert before.endswith("None)")
    argv = {"ds_sandbox": {"argv": ["a.py", "--x", "\u00e4"]}}
    assert kernel.run(look, metadata=argv).result == "(['a.py', '--x', '\u00e4'], 'a.py')"
    assert kernel.run(look).result == before
    assert kernel.run("1 / 0", metadata=argv).reply["ename"] == "ZeroDivisionError"
    assert kernel.run(look).result == before
    kernel.run("__file__ = 'mine'")
    kernel.run("sys.argv.append(1); del __file__", metadata=argv)
    assert kernel.run("__file__").result == "'mine'"
    kernel.run("del __file__")
    for bad in (["a", 1], [], "a", {"a": 1}, None):
        assert kernel.run(look, metadata={"ds_sandbox": {"argv": bad}}).result == before


def test_long_code_is_run_as_any(kernel):
    pad = "x = '''" + "y" * (1 << 20) + "'''\n"
    kernel.run("import asyncio")
    assert kernel.run(pad + "len(x)").result == str(1 << 20)
    assert kernel.run(pad + "await asyncio.sleep(0, len(x))").result == str(1 << 20)
    assert kernel.run(pad + "_d = %pwd\nlen(x)").result == str(1 << 20)
    assert kernel.run(pad + "def f(:").reply["ename"] == "SyntaxError"
    assert kernel.run("In [1]: " + pad + "len(x)").result == str(1 << 20)
    kernel.run("get_ipython().input_transformers_post.append(lambda lines: [*lines, '2 + 3'])")
    assert kernel.run(pad).result == "5"
    kernel.run("get_ipython().input_transformers_post.clear()")


def test_long_code_costs_what_python_takes(kernel):
    code = "x = '''" + ("y" * 99 + "\n") * 100_000 + "'''\n"
    kernel.run("import ast, time\nbefore = time.process_time()")
    kernel.run(code)
    look = "took = time.process_time() - before; code = In[-2]; before = time.process_time()\n"
    look += "for _ in range(3): ast.parse(code)\ntook, time.process_time() - before"
    took, parsed = eval(kernel.run(look).result)
    assert took < 10 * parsed
