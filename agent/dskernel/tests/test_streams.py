"""LineStream: prompt output, whole lines, nothing lost."""

import ast
import time
from datetime import datetime
from pathlib import Path

import pytest
from kernel import Kernel


@pytest.fixture(scope="module")
def kernel(kernel_python):
    k = Kernel(kernel_python)
    yield k
    k.close()


def test_timed_flush_cuts_no_line(kernel):
    code = """
import random, time
for i in range(4000):
    print("line", i)
    if i % 10 == 0: time.sleep(random.random() * 0.004)
for i in range(60):
    print("line", 4000 + i)
    time.sleep(random.uniform(0.018, 0.022))
"""
    r = kernel.run(code)
    assert [t for t in r.texts() if not t.endswith("\n")] == []
    assert r.stdout == "".join("line %d\n" % i for i in range(4060))
    assert len(r.texts()) > 60


def test_timer_between_text_and_newline_holds_the_text_back(kernel):
    # The pauses between the two writes are where the timer falls again and again.
    code = """
import random, sys, time
for i in range(150):
    sys.stdout.write("x%d" % i)
    time.sleep(random.uniform(0.003, 0.008))
    sys.stdout.write("\\n")
"""
    r = kernel.run(code)
    assert r.stdout == "".join("x%d\n" % i for i in range(150))
    cut = [t for t in r.texts() if not t.endswith("\n")]
    assert cut == [], "%d of %d" % (len(cut), len(r.texts()))


def test_threads_lose_nothing(kernel):
    code = """
import random, sys, threading, time
def talk(name):
    for i in range(400):
        sys.stdout.write("%s %d\\n" % (name, i))
        if i % 7 == 0: time.sleep(random.random() * 0.01)
threads = [threading.Thread(target=talk, args=(n,)) for n in "abcd"]
for t in threads: t.start()
for t in threads: t.join()
"""
    r = kernel.run(code)
    assert all(t.endswith("\n") for t in r.texts())
    lines = r.stdout.splitlines()
    for name in "abcd":
        assert [x for x in lines if x[0] == name] == ["%s %d" % (name, i) for i in range(400)]
    assert len(lines) == 1600


def test_output_streams_while_the_run_goes_on(kernel):
    r = kernel.run("import time\nfor i in range(5):\n    print(i)\n    time.sleep(0.1)")
    assert r.texts() == ["%d\n" % i for i in range(5)]


@pytest.mark.parametrize("text", ["50%", "\\r50%", "a\\nb", "é"])
def test_partial_line_appears_while_the_run_goes_on(kernel, text):
    code = (
        "import time, datetime as d\nprint('%s', end='')\nt = d.datetime.now().astimezone()\n"
        "time.sleep(0.6)\nprint(t.isoformat())" % text
    )
    r = kernel.run(code)
    streams = [m for m in r.messages if m["msg_type"] == "stream"]
    *parts, last = streams
    assert "".join(m["content"]["text"] for m in parts) == ast.literal_eval("'%s'" % text)
    written = datetime.fromisoformat(last["content"]["text"].strip())
    delay = (parts[-1]["header"]["date"] - written).total_seconds()
    assert delay < 0.3, delay


def test_flush_sends_a_partial_line_at_once(kernel):
    r = kernel.run("import time\nfor i in range(20):\n    print(i, end=';', flush=True)")
    assert r.texts() == ["%d;" % i for i in range(20)]


def test_order_of_kinds_is_kept(kernel):
    code = "from IPython.display import display\nfor i in 1, 2: print(i, end=''); display(i)\n"
    code += "print(3, end='')\n1/0"
    r = kernel.run(code)
    assert r.kinds == ["stream", "display_data", "stream", "display_data", "stream", "error"]
    assert r.texts() == ["1", "2", "3"]


def test_prompt_comes_after_what_was_printed(kernel):
    r = kernel.run("print('who', end='')\nname = input('name? ')\nprint(name, end='')", stdin="ada")
    assert r.stdout == "whoada"
    assert [c["prompt"] for c in r.of("input_request")] == ["name? "]


def test_last_words_come_before_idle(kernel):
    for _ in range(20):
        assert (
            kernel.run("import sys; print('out', end=''); print('err', end='', file=sys.stderr)").stdout
            == "out"
        )


def test_output_before_an_interrupt_is_kept(kernel):
    r = kernel.run_interrupted("import time\nprint('one')\nprint('two', end='')\ntime.sleep(60)")
    assert r.reply["status"] == "error" and r.stdout == "one\ntwo"


def test_subprocess_output_comes_in_order_and_before_idle(kernel):
    for i in range(30):
        r = kernel.run("import os\nprint('a')\nos.system('echo b; echo c >&2')\nprint('d', %d)" % i)
        assert (r.stdout, "".join(r.texts("stderr"))) == ("a\nb\nd %d\n" % i, "c\n")
    r = kernel.run("import subprocess; subprocess.run(['echo', 'hi'])")
    assert r.stdout == "hi\n"
    assert kernel.run("import os; os.write(1, b'raw'); None").stdout == "raw"


def test_subprocess_output_may_be_long_and_no_utf8(kernel):
    kernel.run("import subprocess, sys")
    r = kernel.run(
        "subprocess.run([sys.executable, '-c', \"import os; os.write(1, 'é€'.encode() * 100_001)\"]); None"
    )
    assert r.stdout == "é€" * 100_001
    for _ in range(2):  # the second would hang if the first had ended the watcher
        r = kernel.run(
            "code = 'import os; os.write(1, bytes([255, 254, 33]) * 60_000)'\n"
            "subprocess.run([sys.executable, '-c', code]); None"
        )
        assert r.stdout == "\ufffd\ufffd!" * 60_000


def test_endless_subprocess_does_not_hold_up_a_run(kernel):
    code = "import subprocess; p = subprocess.Popen(['yes']); import time; time.sleep(0.05); print('done')"
    begun = time.monotonic()
    r = kernel.run(code)
    assert r.reply["status"] == "ok" and time.monotonic() - begun < 20
    assert kernel.run("p.kill(); p.wait()").result == "-9"
    assert kernel.run("print(1)").stdout.endswith("1\n")


def test_forked_children_are_heard(kernel):
    code = """
import os, sys
for i in range(3):
    pid = os.fork()
    if pid == 0:
        print("child", i)
        print("flushed", end="", flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
import time; time.sleep(0.3)
"""
    assert sorted(kernel.run(code).texts()) == [
        "child 0\n",
        "child 1\n",
        "child 2\n",
        "flushed",
        "flushed",
        "flushed",
    ]
    pool = "import multiprocessing as m\ndef f(x): print('job', x); print('.', end=''); return x\n"
    pool += "with m.get_context('fork').Pool(2) as p:\n"
    pool += "    print(p.map(f, range(4)), flush=True); p.close(); p.join()\ntime.sleep(0.3)"
    r = kernel.run(pool)
    assert "[0, 1, 2, 3]\n" in r.texts()
    assert sorted("".join(r.texts()).replace(".", "").splitlines()) == ["[0, 1, 2, 3]"] + [
        "job %d" % i for i in range(4)
    ]
    assert r.stdout.count(".") == 4


def test_stream_is_what_ipykernel_has(kernel):
    r = kernel.run(
        "import sys, ipykernel.iostream as i; o = sys.stdout\n"
        "print(o.isatty(), o.fileno() > 2, isinstance(o, i.OutStream), o.encoding, o.writable())"
    )
    assert r.stdout == "False True True UTF-8 True\n"
    r = kernel.run("sys.stdout.writelines(['a', 'b\\n']); sys.stdout.write('four')")
    assert (r.stdout, r.result) == ("ab\nfour", "4")
    assert kernel.run("sys.stdout.write(b'x')").reply["ename"] == "TypeError"


def test_big_print_is_whole(kernel):
    assert kernel.run("print('x' * 20_000_000)").stdout == "x" * 20_000_000 + "\n"


def test_copies_go_to_the_descriptor_that_was(kernel):
    kernel.run("import os; os.write(1, b'for the log of the process\\n'); None")
    assert "for the log of the process\n" in Path(kernel.output).read_text(errors="replace")


def test_text_without_an_encoding_is_shown_with_a_replacement(kernel):
    r = kernel.run("print('before')\nprint('a\\udc80b', '\\ud83d\\ude00', '\\ud800')\nprint('after')")
    assert r.stdout == "before\na\ufffdb \U0001f600 \ufffd\nafter\n"
    r = kernel.run("raise ValueError('x\\ud800y')")
    assert r.reply["evalue"] == r.of("error")[0]["evalue"] == "x\ufffdy"
    assert kernel.run("class Odd:\n    def __repr__(self): return '<\\ud800>'\nOdd()").result == "<\ufffd>"
    # What the parser of Python refuses is an error as any other.
    assert kernel.run("'alive'").result == "'alive'"
