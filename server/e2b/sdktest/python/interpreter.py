"""The code interpreter, and its charts."""

import threading

from e2b import NotFoundException, SandboxException, TimeoutException
from e2b_code_interpreter import Sandbox
from e2b_code_interpreter.charts import BarChart, LineChart, PieChart
from harness import DOCKER, Raises, check, main

sandbox = Sandbox.create(timeout=600, envs={"FROM_CREATE": "yes"})
run = sandbox.run_code


@check("values, state and errors")
def _():
    assert run("x = 41; x").text == "41" and run("x += 1; x").text == "42"
    out, err, results, errors = [], [], [], []
    execution = run(
        "import sys\nprint('out ü')\nprint('err', file=sys.stderr)\n3",
        on_stdout=lambda m: out.append(m.line),
        on_stderr=lambda m: err.append(m.line),
        on_result=lambda r: results.append(r.text),
        on_error=errors.append,
    )
    assert (out, err, results, errors) == (["out ü\n"], ["err\n"], ["3"], [])
    assert execution.logs.stdout == out and execution.execution_count > 0
    error = run("1 / 0").error
    assert (error.name, error.value) == ("ZeroDivisionError", "division by zero") and "1 / 0" in error.traceback
    assert execution.to_json()


@check("charts and tables")
def _():
    line = run("import matplotlib.pyplot as plt\nplt.plot([1, 2], [3, 4], label='a')\nplt.title('T')\nplt.show()").results[0]
    assert line.png and isinstance(line.chart, LineChart) and line.chart.title == "T"
    assert [list(p) for p in line.chart.elements[0].points] == [[1, 3], [2, 4]]
    assert "png" in line.formats()
    bar = run("plt.bar(['a', 'b'], [1, 2])\nplt.show()").results[0].chart
    assert isinstance(bar, BarChart) and [e.value for e in bar.elements] == [1, 2]
    pie = run("plt.pie([1, 3], labels=['a', 'b'])\nplt.show()").results[0].chart
    assert isinstance(pie, PieChart) and [e.label for e in pie.elements] == ["a", "b"]
    table = run("import pandas as pd\npd.DataFrame({'a': [1, 2]})").results[0]
    assert table.data == {"a": [1, 2]} and table.html
    assert run("{'k': [1]}").results[0].json == {"k": [1]}


@check("environment and contexts")
def _():
    code = "import os; os.environ.get('FROM_CREATE'), os.environ.get('OWN')"
    assert run(code, envs={"OWN": "a \"b\" 'c'"}).text == "('yes', 'a \"b\" \\'c\\'')"
    assert run(code).text == "('yes', None)"
    context = sandbox.create_code_context(cwd="/home/user", language="python")
    assert run("x = 'own'; x", context=context).text == "own" and run("x").text == "42"
    assert sandbox.list_code_contexts()[-1].id == context.id
    sandbox.restart_code_context(context)
    assert run("x", context=context).error.name == "NameError"
    sandbox.remove_code_context(context.id)
    with Raises(NotFoundException):
        run("1", context=context)
    with Raises(SandboxException, "no-such-language"):
        run("1", language="no-such-language")


@check("a time-out, and the next run")
def _():
    with Raises(TimeoutException):
        run("import time; time.sleep(60)", timeout=1)
    assert run("x").text == "42"


@check("separators of lines in outputs")
def _():
    assert run("print('a\\u2028b\\x85c\\x1cd')\n'e\\u2029f'").logs.stdout == ["a\u2028b\x85c\x1cd\n"]


@check("where it runs", docker=True)
def _():
    assert DOCKER and run("import os; os.getcwd()").text == "/home/user"


@check("a kill during a run")
def _():
    began = threading.Event()
    doomed = Sandbox.create()
    killer = threading.Thread(target=lambda: (began.wait(), doomed.kill()))
    killer.start()
    with Raises(TimeoutException):
        doomed.run_code("print('began', flush=True); import time; time.sleep(300)", on_stdout=lambda _: began.set())
    killer.join()


@check("the end")
def _():
    assert sandbox.kill()


main()
