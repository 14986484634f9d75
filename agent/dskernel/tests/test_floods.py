"""Floods of prints: cheap, and with everything that other output has."""

import re

import pytest
from branching import Parked
from kernel import Kernel


@pytest.fixture(scope="module")
def kernel(kernel_python):
    k = Kernel(kernel_python)
    k.run("import asyncio, os, subprocess, sys, threading, time")
    yield k
    k.close()


@pytest.fixture(scope="module")
def by_context(kernel):
    """Reports whether this ipykernel knows to which request a thread or a task belongs."""
    return kernel.run("sys.stdout._by_context").result == "True"


def numbers(count):
    return "".join("%d\n" % i for i in range(count))


def test_flood_is_whole_in_whole_lines_and_takes_the_short_way(kernel):
    code = """
short = 0
for i in range(300_000):
    print(i)
    if i % 1000 == 999: short += 'write' in vars(sys.stdout)
"""
    r = kernel.run(code)
    assert r.stdout == numbers(300_000)
    assert [t for t in r.texts() if not t.endswith("\n")] == []
    # It takes the other way again and again, for a moment, while what came until then is sent.
    assert int(kernel.run("short").result) > 200  # of 300 looks
    assert kernel.run("'write' in vars(sys.stdout)").result == "False"


def test_flood_costs_little_more_than_a_file(kernel):
    code = """
def cost(file):
    begun = time.thread_time()
    for i in range(200_000): print(i, file=file)
    return time.thread_time() - begun
with open(os.devnull, 'w') as null: plain = min(cost(null) for _ in range(5))
flood = min(cost(sys.stdout) for _ in range(5))
"""
    kernel.run(code)
    times = eval(kernel.run("plain, flood").result)
    assert times[1] < 2 * times[0], times


def test_subprocesses_in_a_flood_come_in_their_place(kernel):
    code = """
for n in range(20):
    for i in range(3000): print(n, i)
    if n % 2: os.system('echo sub %d' % n)
    else: subprocess.run(['echo', 'sub', str(n)])
"""
    lines = kernel.run(code).stdout.splitlines()
    expected = []
    for n in range(20):
        expected += ["%d %d" % (n, i) for i in range(3000)] + ["sub %d" % n]
    assert lines == expected


def test_display_in_a_flood_comes_in_its_place(kernel):
    code = "from IPython.display import display\n"
    code += "for n in range(5):\n    for i in range(500): print(i)\n    display(n)"
    r = kernel.run(code)
    parts = "".join(
        m["content"]["text"] if m["msg_type"] == "stream" else "D"
        for m in r.messages
        if m["msg_type"] in ("stream", "display_data")
    )
    assert parts == (numbers(500) + "D") * 5


def test_interrupted_flood_loses_nothing(kernel):
    for flush in ("", ", flush=True") * 8:
        r = kernel.run_interrupted("i = 0\nwhile True:\n    print(i%s)\n    i += 1" % flush)
        assert r.reply["ename"] == "KeyboardInterrupt"
        assert kernel.run("'alive'").result == "'alive'"
        count = int(kernel.run("i").result)
        text = r.stdout
        # The print that was interrupted may have got its text out, or not.
        assert text.rstrip("\n") in (numbers(count).rstrip("\n"), numbers(count + 1).rstrip("\n"))


@pytest.mark.parametrize("moment", ["schedule", "_wake", "call_soon_threadsafe"])
def test_interrupt_before_the_io_thread_is_woken_loses_nothing(kernel, moment):
    code = f"""
while sys.stdout._flush_pending:  # then this print asks for the next flush
    time.sleep(0.001)
thread = sys.stdout.pub_thread
owner = thread.io_loop.asyncio_loop if hasattr(asyncio.AbstractEventLoop, {moment!r}) else thread
def interrupted(*args):
    delattr(owner, {moment!r})
    raise KeyboardInterrupt
setattr(owner, {moment!r}, interrupted)
print('cut short')
"""
    r = kernel.run(code)
    assert (r.reply["ename"], r.stdout) == ("KeyboardInterrupt", "cut short")
    r = kernel.run("for i in range(4):\n    print(i)\n    time.sleep(0.15)")
    assert r.texts() == ["0\n", "1\n", "2\n", "3\n"]  # while the run went on


def test_write_that_is_kept_works_after_the_flood(kernel):
    code = "for i in range(500): print(i)\nkept = sys.stdout.write\nNone"
    assert kernel.run(code).stdout == numbers(500)
    assert "built-in" in kernel.run("repr(kept)").result
    r = kernel.run("for i in range(4):\n    kept('%d\\n' % i)\n    time.sleep(0.15)")
    assert r.texts() == ["0\n", "1\n", "2\n", "3\n"]  # while the run went on
    assert kernel.run("_ = kept('next run')").stdout == "next run"
    kernel.run("del kept")


def test_write_of_the_users_is_left_alone(kernel):
    code = """
heard = []
sys.stdout.write = heard.append
try:
    for i in range(500): print(i)
finally:
    del sys.stdout.write
for i in range(500): print(i)
"""
    assert kernel.run(code).stdout == numbers(500)
    assert kernel.run("len(heard)").result == "1000"


def test_flood_stays_small(kernel):
    code = """
import resource
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
piece = 'x' * 99_999 + '\\n'
for i in range(3000): sys.stdout.write(piece)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
"""
    r = kernel.run(code)
    assert len(r.stdout) == 300_000_000
    assert int(kernel.run("grown").result) < 200_000  # KiB


def test_long_lines_are_sent_in_messages_of_bounded_size(kernel):
    code = """
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for i in range(300): print('short')
line = 'x' * 99_999
for i in range(6000): print(line)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
"""
    kernel.run("import resource")
    r = kernel.run(code)
    assert r.stdout == "short\n" * 300 + ("x" * 99_999 + "\n") * 6000
    assert max(map(len, r.texts())) <= 4 << 20
    assert int(kernel.run("grown").result) < 400_000  # KiB, of 600 MB


def test_a_text_that_is_too_long_is_cut_between_characters(kernel):
    for text in ("'x' * 20_000_000", "'€😀é' * 3_000_000", "('y' * 5_000_000 + chr(10)) * 3"):
        r = kernel.run("print(%s)" % text)
        assert r.stdout == eval(text) + "\n"
        assert max(len(t.encode()) for t in r.texts()) <= 4 << 20
    texts = kernel.run("print(('z' * 99_999 + chr(10)) * 100, end='')").texts()
    assert len(texts) == 3 and all(t.endswith("\n") for t in texts)


def test_fork_in_a_flood_tells_nothing_twice(kernel):
    code = """
for i in range(1000): print(i)
if os.fork() == 0:
    print('child')
    os._exit(0)
os.wait()
for i in range(1000): print(i)
time.sleep(0.3)
"""
    text = kernel.run(code).stdout
    assert text.count("child\n") == 1
    assert text.replace("child\n", "") == numbers(1000) * 2


def test_threads_that_flood_lose_nothing(kernel):
    code = """
def talk(name):
    for i in range(20_000): sys.stdout.write('%s %d\\n' % (name, i))
threads = [threading.Thread(target=talk, args=(n,)) for n in 'abc']
for t in threads: t.start()
talk('m')
for t in threads: t.join()
"""
    lines = kernel.run(code).stdout.splitlines()
    for name in "abcm":
        assert [x for x in lines if x[0] == name] == ["%s %d" % (name, i) for i in range(20_000)]
    assert len(lines) == 80_000


def test_what_belongs_to_another_run_stays_there(kernel, by_context):
    if not by_context:
        pytest.skip("this ipykernel gives everything to the latest request")
    begin = """
on = True
def talk():
    while on:
        sys.stdout.write('old thread\\n')
        time.sleep(0.0001)
async def chat():
    while on:
        sys.stdout.write('old task\\n')
        await asyncio.sleep(0)
tasks = [asyncio.ensure_future(asyncio.to_thread(talk)), asyncio.ensure_future(chat())]
"""
    assert set(kernel.run(begin + "await asyncio.sleep(0.05)").stdout.splitlines()) == {
        "old thread",
        "old task",
    }
    flood = "for n in range(50):\n    for i in range(2000): print('new')\n    "
    assert kernel.run(flood + "time.sleep(0.001)").stdout == "new\n" * 100_000
    assert kernel.run(flood + "await asyncio.sleep(0.001)").stdout == "new\n" * 100_000
    assert kernel.run("on = False\nawait asyncio.gather(*tasks)\n'done'").result == "'done'"


def test_output_is_kept_for_the_magic_notebook(kernel):
    if kernel.run("hasattr(get_ipython().history_manager, 'outputs')").result != "True":
        pytest.skip("this IPython keeps no output")
    outputs = "get_ipython().history_manager.outputs[%d]"
    count = kernel.run("print('a')\nprint('b'); 5").reply["execution_count"]
    kinds = "[(o.output_type, ''.join(o.bundle.get('stream', ''))) for o in " + outputs % count + "]"
    assert eval(kernel.run(kinds).result) == [("out_stream", "a\nb\n"), ("execute_result", "")]
    count = kernel.run("for i in range(1_000_000): print(i)").reply["execution_count"]
    kept = "sum(len(t) for o in " + outputs % count + " for t in o.bundle['stream'])"
    assert int(kernel.run(kept).result) == 1 << 20


def test_floods_can_be_turned_off(kernel_python):
    k = Kernel(kernel_python, env={"DS_SANDBOX_CHEAP_PRINT": "0"})
    try:
        r = k.run("import sys\nfor i in range(2000): print(i)\n'write' in vars(sys.stdout)")
        assert (r.stdout, r.result) == (numbers(2000), "False")
    finally:
        k.close()


def test_upstreams_parts_can_be_asked_for(kernel_python):
    k = Kernel(kernel_python, env={"DS_SANDBOX_PLAIN_STREAMS": "1"})
    try:
        parts = "sys.stdout, sys.stdout.pub_thread, get_ipython()"
        code = f"import sys\nprint(1)\n[type(x).__module__.partition('.')[0] for x in ({parts})]"
        r = k.run(code)
        assert (r.stdout, r.result) == ("1\n", "['ipykernel', 'ipykernel', 'ipykernel']")
        with Parked(k) as parked, parked.wake() as copy:
            assert parked.warnings == []
            # Upstream's thread that reads the pipe is waited for by nobody.
            read = "while pending(): time.sleep(0.01)\ntime.sleep(0.5)\n"
            copy.run(
                "import array, fcntl, os, sys, termios, time\ndef pending():\n    n = array.array('i', [0])\n"
                "    fcntl.ioctl(sys.stdout._fid, termios.FIONREAD, n)\n    return n[0]"
            )
            assert copy.run("os.system('echo 2')\n" + read + "print(3)").stdout == "2\n3\n"
    finally:
        k.close()


def test_odd_text_comes_through(kernel):
    r = kernel.run("for i in range(300): print('é€😀\\u0000\\r')\nprint('a\\r\\nb')")
    assert re.fullmatch("(é€😀\x00\r\n)*a\r\nb\n", r.stdout) and r.stdout.count("é") == 300
    assert kernel.run("for i in range(300): sys.stdout.write(i)").reply["ename"] == "TypeError"
    assert kernel.run("for i in range(300): print(i)\nsys.stdout.write(b'x')").reply["ename"] == "TypeError"
