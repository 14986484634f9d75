"""Tests of branch.py: copies of a running kernel."""

import contextlib
import os
import signal
import time

import pytest
from branching import Parked, Refused
from supervise import wait_gone

PNG = "image/png"


@contextlib.contextmanager
def copied(kernel, **order):
    """Wakes a copy of a kernel as it is now."""
    with Parked(kernel) as parked, parked.wake(**order) as copy:
        yield copy


def needs(kernel, module):
    if kernel.run("import " + module).reply["status"] != "ok":
        pytest.skip("no " + module)


def descriptors(pid):
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):  # closed meanwhile
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return found


def test_a_copy_has_the_state_of_its_moment(kernel):
    kernel.run("x = 1; import math")
    with Parked(kernel) as parked:
        kernel.run("x = 2")
        with parked.wake() as copy:
            assert copy.run("x, math.pi > 3").result == "(1, True)"
            copy.run("x = 3")
            assert kernel.run("x").result == "2"
            assert copy.run("print(x)").stdout == "3\n"
        with parked.wake() as copy:  # any number of times
            assert copy.run("x").result == "1"


def test_in_and_out_and_magics_are_there(kernel):
    kernel.run("40 + 2")
    kernel.run(
        "from IPython.core.magic import register_line_magic\n@register_line_magic\ndef twice(s): return s * 2"
    )
    with copied(kernel) as copy:
        r = copy.run("Out[1], In[1], %twice ab")
        assert copy.run("Out[1], In[1]").result == "(42, '40 + 2')"
        assert copy.run("%twice ab").result == "'abab'"
        assert r.reply["execution_count"] == 3
        assert "40 + 2" in copy.run("%history").stdout


def test_a_plot_half_built_is_finished_in_each(kernel):
    needs(kernel, "matplotlib")
    kernel.run(
        "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.ioff()\n"
        "fig, ax = plt.subplots(); plt.close(fig)"
    )
    kernel.run("ax.plot([1, 2, 3])")
    with copied(kernel) as copy:
        for k in (copy, kernel, copy):
            r = k.run("ax.set_title('t'); display(fig)")
            assert PNG in r.of("display_data")[0]["data"], r.messages
        r = copy.run("_ = plt.plot([3, 1]); plt.show()")
        assert PNG in r.of("display_data")[0]["data"]


def test_output_goes_to_its_own_client(kernel):
    kernel.run(
        "import os, sys, logging; h = logging.StreamHandler(sys.stderr)\n"
        "out = sys.stdout; logging.getLogger().addHandler(h)"
    )
    with copied(kernel) as copy:
        code = "out.write('a\\n'); os.system('echo b'); print('c'); logging.warning('d'); display('e')"
        for k in (copy, kernel):
            r = k.run(code)
            assert r.stdout == "a\nb\nc\n"
            assert r.texts("stderr") == ["d\n"]
            assert len(r.of("display_data")) == 1
        assert kernel.run("").kinds == []


def test_what_is_collected_says_nothing(kernel):
    with copied(kernel) as copy, copied(copy) as again:
        for k in (copy, again):
            r = k.run("import gc; [gc.collect() for _ in range(3)]; None")
            assert r.kinds == [], r.messages


def test_stdin_interrupt_and_completion(kernel):
    kernel.run("alphabet = 'abc'")
    with copied(kernel) as copy:
        assert copy.run("input('name?')", stdin="ada").result == "'ada'"
        r = copy.run_interrupted("print(1, flush=True)\nimport time\ntime.sleep(60)")
        assert r.reply["ename"] == "KeyboardInterrupt"
        r = copy.run_interrupted("print(1, flush=True)\nimport asyncio\nawait asyncio.sleep(60)")
        assert r.reply["status"] == "error"
        r = kernel.run_interrupted("print(1, flush=True)\nimport time\ntime.sleep(60)")
        assert r.reply["ename"] == "KeyboardInterrupt"
        assert copy.run("alphabet").result == "'abc'"
        reply = copy.client.complete("alph", reply=True, timeout=20)
        assert "alphabet" in reply["content"]["matches"]


def test_an_interrupt_of_the_original_is_not_the_copys(kernel):
    with copied(kernel) as copy:
        kernel.run_interrupted("print(1, flush=True)\nimport time\ntime.sleep(60)")
        assert copy.run("1 + 1").result == "2"


COMM = """
from ipykernel.comm import Comm
comm = Comm(target_name="t")
@comm.on_msg
def echo(m): print("got", m["content"]["data"])
"""


def test_comms(kernel):
    opened = kernel.run(COMM).of("comm_open")[0]["comm_id"]
    with copied(kernel) as copy:
        for k in (copy, kernel):
            assert k.run("comm.send({'x': 1})").of("comm_msg")[0]["comm_id"] == opened
            message = k.client.session.msg("comm_msg", {"comm_id": opened, "data": 5})
            k.client.shell_channel.send(message)
            assert "got 5" in wait_for_text(k)


def wait_for_text(k):
    while True:
        m = k.client.get_iopub_msg(timeout=20)
        if m["msg_type"] == "stream":
            return m["content"]["text"]


def test_async_cells_are_waited_for_and_queued_ones_run_once(kernel, tmp_path):
    kernel.run("n = 0; import asyncio, os; path = %r" % str(tmp_path / "ran"))
    slow = kernel.send("await asyncio.sleep(0.3); n = 7")
    with Parked(kernel, wait=False) as parked:
        queued = [kernel.send("open(path, 'a').write('%d\\n')" % i) for i in range(3)]
        parked.collect()
        kernel.collect_any([slow, *queued])
        with parked.wake() as copy:
            assert copy.run("n").result == "7"
    assert (tmp_path / "ran").read_text() == "0\n1\n2\n"


def test_tasks_go_on_in_both(kernel):
    kernel.run(
        "import asyncio\nticks = 0\nasync def tick():\n    global ticks\n"
        "    while True:\n        await asyncio.sleep(0.01); ticks += 1\n"
        "task = asyncio.ensure_future(tick())"
    )
    with copied(kernel) as copy:
        for k in (copy, kernel):
            code = "before = ticks\nwhile ticks < before + 3: await asyncio.sleep(0.01)\nticks > before"
            assert k.run(code).result == "True"


def test_thread_pools_that_were_used(kernel):
    kernel.run(
        "from concurrent.futures import ThreadPoolExecutor; import asyncio\npool = ThreadPoolExecutor(2)\n"
        "list(pool.map(str, range(9)))\nawait asyncio.get_running_loop().run_in_executor(None, str, 1)"
    )
    with copied(kernel) as copy:
        for k in (copy, kernel):
            assert k.run("list(pool.map(str, range(3)))").result == "['0', '1', '2']"
            assert k.run("await asyncio.get_running_loop().run_in_executor(None, str, 1)").result == "'1'"


def test_openmp_that_was_used(kernel):
    needs(kernel, "sklearn")
    fit = "from sklearn.cluster import KMeans; import numpy as np\n"
    fit += "KMeans(3, n_init=2).fit(np.random.rand(5000, 3)).n_iter_ > 0"
    assert kernel.run(fit).result == "True"
    with copied(kernel) as copy:
        assert copy.run(fit).result == "True"
        assert kernel.run(fit).result == "True"
        assert copy.run("a = np.random.rand(400, 400); (a @ a).shape").result == "(400, 400)"


def test_open_files_have_a_place_of_their_own(kernel):
    kernel.run(
        "f = open('lines', 'w+'); f.write('one\\ntwo\\n'); f.seek(0); f.readline()\n"
        "g = open('log', 'a'); g.write('x')"
    )
    with copied(kernel) as copy:
        assert copy.run("f.readline()").result == "'two\\n'"
        assert kernel.run("f.readline()").result == "'two\\n'"
        copy.run("g.close()")
        kernel.run("g.close()")
        assert kernel.run("open('log').read()").result == "'x'"


def test_random_numbers(kernel):
    kernel.run("import random; random.seed(1)")
    numpy = kernel.run("import numpy; numpy.random.seed(1)").reply["status"] == "ok"
    draw = "[random.random(), numpy.random.rand()]" if numpy else "random.random()"
    with Parked(kernel) as parked:
        kept, fresh = [], []
        for kind, drawn in ((None, kept), ("keep", kept), ("fresh", fresh), ("fresh", fresh)):
            with parked.wake(random=kind) as copy:
                drawn.append(copy.run(draw).result)
        assert kept[0] == kept[1] == kernel.run(draw).result
        assert len({kept[0], *fresh}) == 3


def test_uuids_and_session_keys_differ(kernel):
    kernel.run("import uuid, secrets, ssl")
    with Parked(kernel) as parked, parked.wake() as a, parked.wake() as b:
        code = "uuid.uuid4(), secrets.token_hex(8), ssl.RAND_bytes(8), get_ipython().kernel.session.session"
        drawn = {k.run(code).result for k in (kernel, a, b)}
        assert len(drawn) == 3
        keys = {k.run("get_ipython().kernel.session.key").result for k in (kernel, a, b)}
        assert len(keys) == 3


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            "import threading, time\n"
            "threading.Thread(target=time.sleep, args=(99,), name='worker', daemon=True).start()",
            "worker",
        ),
        (
            "from concurrent.futures import ThreadPoolExecutor as T; import time\n"
            "p = T(1); p.submit(time.sleep, 5)",
            "ThreadPool",
        ),
        ("get_ipython().kernel.eventloop = lambda k: None", "interface"),
    ],
)
def test_refusals_leave_the_kernel_unharmed(kernel, code, reason):
    kernel.run("x = 1\n" + code)
    with pytest.raises(Refused) as e:
        Parked(kernel)
    assert reason in str(e.value)
    assert kernel.run("get_ipython().kernel.eventloop = None; x").result == "1"


def test_a_socket_that_cannot_be_made_leaves_the_kernel_unharmed(kernel):
    with pytest.raises(Refused) as e:
        Parked(kernel, socket="/no/such/folder/p")
    assert "FileNotFoundError" in str(e.value)
    assert kernel.run("1 + 1").result == "2"


def test_what_is_given_up_ends(kernel):
    kernel.run("x = 5")
    with Parked(kernel) as kept, Parked(kernel) as unwanted:
        kept.keep()
        for parked in (kept, unwanted):
            os.rename(parked.socket, parked.socket + "x")
        wait_gone([unwanted.pid])
        kept.socket += "x"
        pid = kept.wake_in_vain()
        wait_gone([pid])
        with kept.wake() as copy:
            assert copy.run("x").result == "5"


def test_warnings(kernel):
    kernel.run(
        "import subprocess, socket, mmap\np = subprocess.Popen(['sleep', '60'])\n"
        "s = socket.create_server(('127.0.0.1', 0))\nm = mmap.mmap(-1, 4096)"
    )
    with Parked(kernel) as parked:
        told = " ".join(parked.warnings)
        assert "sleep" in told
        assert "127.0.0.1" in told
        assert "memory" in told
    kernel.run("p.kill()")


def test_pipes_and_terminals_are_named(kernel):
    kernel.run("import os\nr, w = os.pipe(); pty = os.openpty()")
    kernel.run("os.mkfifo('ff'); f = os.open('ff', os.O_RDWR)")
    with Parked(kernel) as parked:
        (told,) = parked.warnings
        for word in ("pipe", "/ff", "/dev/pt"):
            assert word in told


NATIVE = (
    "import ctypes; l = ctypes.CDLL(None); t = ctypes.c_ulong()\n"
    "l.pthread_create(ctypes.byref(t), None, ctypes.cast(l.pause, ctypes.c_void_p), None)"
)


@pytest.mark.parametrize("module", ["sys", "numpy"])
def test_a_native_thread_is_missed_beside_those_that_come_back(kernel, module):
    needs(kernel, module)
    kernel.run(NATIVE)
    with Parked(kernel) as parked:
        assert "native" in " ".join(parked.warnings)


def test_files_without_a_name_are_each_ones_own(kernel):
    kernel.run(
        "import os, tempfile\nf = tempfile.TemporaryFile('w+'); _ = f.write('base'); f.flush()\n"
        "m = open(os.memfd_create('m'), 'w+'); _ = m.write('base'); m.flush()"
    )
    look = "f.seek(0), m.seek(0), f.read(), m.read()"
    with Parked(kernel) as parked:
        assert parked.warnings == []
        for k, text in ((kernel, "AAAA"), (parked.wake(), "BBBB"), (parked.wake(), "CCCC")):
            assert k.run(look).result == "(0, 0, 'base', 'base')"
            k.run(f"for x in (f, m): x.seek(0); _ = x.write('{text}'); x.flush()")
            assert k.run(look).result == f"(0, 0, '{text}', '{text}')"
            if k is not kernel:
                k.close()
    kernel.run("f.truncate(1 << 30)")
    with Parked(kernel) as parked:
        assert "1024 MB" in parked.warnings[0]


def test_a_copy_does_not_keep_the_output_of_the_original_open(kernel):
    with Parked(kernel) as parked:
        standard = [os.readlink(f"/proc/{parked.pid}/fd/{n}") for n in (0, 1, 2)]
        assert standard[1:] == ["/dev/null"] * 2, standard
        assert not set(descriptors(parked.pid)) & {os.path.realpath(kernel.output)}


def test_a_quiet_kernel_has_no_warnings(kernel):
    for module in ("numpy", "pandas", "matplotlib.pyplot"):
        kernel.run("import " + module)
    with Parked(kernel) as parked:
        assert parked.warnings == []
        with parked.wake() as copy, Parked(copy) as second:
            assert second.warnings == []


def test_sockets_of_the_kernel_that_nothing_watches_yet(kernel):
    """As when zmq has bound a socket, or taken a connection, that its thread has not heard of."""
    kernel.run(
        "import os, socket\ndef unwatched():\n"
        "    for fd in map(int, os.listdir('/proc/self/fd')):\n        try:\n"
        "            name = socket.socket(fileno=os.dup(fd)).getsockname()\n        except OSError:\n"
        "            continue\n        if '/s-' in str(name):\n            yield os.dup(fd)\n"
        "held = list(unwatched())"
    )
    assert int(kernel.run("len(held)").result) >= 5
    with Parked(kernel) as parked:
        assert parked.warnings == []
        held = set(eval(kernel.run("held").result))
        folder = "/proc/%d/fd/" % parked.pid
        left = {int(name): os.readlink(folder + name) for name in os.listdir(folder)}
        assert not [fd for fd in held if left.get(fd, "").startswith("socket:")]


def test_generations(kernel):
    """Fifty generations deep, ancestors killed on the way."""
    kernel.run("x = 0")
    current, counts = kernel, []
    for generation in range(50):
        current.run("x += 1")
        with Parked(current) as parked:
            following = parked.wake(stay=generation % 2 == 0)
            if generation % 3 == 0:
                current.close()
                current = following
            else:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(getattr(current, "pid", None) or current.process.pid, signal.SIGKILL)
                current.client.stop_channels()
                current = following
            counts.append(len(descriptors(current.pid)))
            if not current.answer["generation"] == generation + 1:
                raise AssertionError(current.answer)
            parked.pid = parked.pid if generation % 2 == 0 else 1 << 30
    assert current.run("x").result == "50"
    assert max(counts) - counts[2] <= 10, counts
    assert current.run("import os; os.system('echo shell')").stdout == "shell\n"
    current.close()


def test_nothing_is_left_in_the_original(kernel):
    with Parked(kernel), copied(kernel):
        pass
    before = descriptors(kernel.process.pid)
    for _ in range(5):
        with Parked(kernel):
            pass
    deadline = time.monotonic() + 20
    copies = "len(get_ipython().kernel.brancher._copies)"
    while len(descriptors(kernel.process.pid)) > len(before) or kernel.run(copies).result != "0":
        assert time.monotonic() < deadline, (before, descriptors(kernel.process.pid))
        kernel.run("import time; time.sleep(0.1)")


def test_killed_originals_close_their_ports(kernel):
    kernel.run("x = 5")
    with copied(kernel) as copy:
        os.killpg(kernel.process.pid, signal.SIGKILL)
        kernel.process.wait()
        import socket

        with socket.socket(socket.AF_UNIX) as s, pytest.raises(OSError):
            s.connect(kernel.folder + "/s-1")
        assert copy.run("x").result == "5"


def test_a_copy_ends_when_told_and_runs_nobodys_exits(kernel, tmp_path):
    kernel.run(
        "import atexit, tempfile\nd = tempfile.TemporaryDirectory()\natexit.register(open, %r, 'w')"
        % str(tmp_path / "exit")
    )
    with copied(kernel) as copy:
        folder = kernel.run("d.name").result.strip("'")
        copy.client.shutdown()
        deadline = time.monotonic() + 20
        while os.path.exists(f"/proc/{copy.pid}") and "Z" not in open(f"/proc/{copy.pid}/stat").read():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert os.path.isdir(folder)
        assert not (tmp_path / "exit").exists()


def test_a_folder_that_moved(kernel, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    kernel.run(
        "import os, sys; os.chdir(%r); sys.path.append(os.getcwd()); os.environ['W'] = os.getcwd()\n"
        "f = open('data', 'a+'); f.write('1'); f.flush()" % str(old)
    )
    new.mkdir()
    (new / "data").write_text("1")
    with copied(kernel, moved=[[str(old), str(new)]], env={"ID": "2"}) as copy:
        code = "os.getcwd() == sys.path[-1] == os.environ['W'], os.environ['ID']"
        assert copy.run(code).result == "(True, '2')"
        assert copy.run("os.getcwd()").result == repr(str(new))
        copy.run("f.write('2'); f.close()")
    assert (old / "data").read_text() == "1"
    assert (new / "data").read_text() == "12"
