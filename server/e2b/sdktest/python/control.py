"""The control plane: making, finding, changing and ending sandboxes."""

import datetime
import urllib.error
import urllib.request

import e2b
from e2b import (
    AuthenticationException,
    NotFoundException,
    RateLimitException,
    Sandbox,
    SandboxException,
    SandboxNotFoundException,
    Secret,
    Template,
    Volume,
)
from harness import DOCKER, SMALL_KEY, URL, Raises, check, main, until

WRONG_KEY = "e2b_00000000000000000000"
mine = {"program": "control-py"}
sandbox = None


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def near(got, want):
    assert abs((got - want).total_seconds()) < 20, f"{got} is not near {want}"


@check("create and get_info")
def _():
    global sandbox
    sandbox = Sandbox.create(metadata=mine | {"a b": "c&d=+%/é"}, envs={"FROM_CREATE": "yes"}, timeout=120)
    assert sandbox.is_running()
    for info in (sandbox.get_info(), Sandbox.get_info(sandbox.sandbox_id)):
        assert info.sandbox_id == sandbox.sandbox_id and info.template_id == "base" and info.state.value == "running"
        assert info.metadata["a b"] == "c&d=+%/é" and info.cpu_count > 0 and info.memory_mb > 0
        assert round((info.end_at - info.started_at).total_seconds()) == 120
        assert info.lifecycle["on_timeout"] == "kill"


@check("list")
def _():
    def ids(**query):
        return [s.sandbox_id for s in Sandbox.list(query=e2b.SandboxQuery(**query)).next_items()]

    own = [sandbox.sandbox_id]
    assert ids(metadata=mine | {"a b": "c&d=+%/é"}) == own
    assert ids(metadata=mine, state=[e2b.SandboxState.RUNNING]) == own
    assert ids(metadata=mine, state=[e2b.SandboxState.PAUSED]) == []
    other = Sandbox.create("code-interpreter-v1", metadata=mine)
    pages, got = Sandbox.list(query=e2b.SandboxQuery(metadata=mine), limit=1), []
    while pages.has_next:
        got += [s.sandbox_id for s in pages.next_items()]
    assert got == [other.sandbox_id, sandbox.sandbox_id]
    assert other.kill()


@check("set_timeout and connect")
def _():
    sandbox.set_timeout(600)
    near(sandbox.get_info().end_at, now() + datetime.timedelta(seconds=600))
    before = sandbox.get_info().end_at
    handle = Sandbox.connect(sandbox.sandbox_id, timeout=60)
    assert handle.sandbox_id == sandbox.sandbox_id and handle.get_info().end_at == before
    handle.connect(timeout=900)
    near(sandbox.get_info().end_at, now() + datetime.timedelta(seconds=900))
    Sandbox.set_timeout(sandbox.sandbox_id, 300)
    near(sandbox.get_info().end_at, now() + datetime.timedelta(seconds=300))


@check("pause and resume")
def _():
    assert sandbox.pause()
    assert not sandbox.pause()
    assert not Sandbox.pause(sandbox.sandbox_id)
    assert not sandbox.beta_pause()
    assert not sandbox.is_running()
    assert sandbox.get_info().state.value == "paused"
    sandbox.connect()
    assert sandbox.is_running()
    with Raises(SandboxException, "501"):
        sandbox.pause(mode="filesystem")
    with Raises(SandboxNotFoundException):
        Sandbox.pause("nosuchsandbox")


@check("a pause at the end of its time, and a request that wakes it")
def _():
    sleeper = Sandbox.create(timeout=1, lifecycle={"on_timeout": "pause", "auto_resume": True})
    until("it is paused", lambda: sleeper.get_info().state.value == "paused")
    assert sleeper.is_running()
    sleeper.connect(timeout=60)
    assert sleeper.get_info().lifecycle == {"on_timeout": "pause", "auto_resume": True}
    assert sleeper.kill()


@check("get_metrics")
def _():
    metrics = sandbox.get_metrics()
    assert metrics and metrics[0].cpu_count > 0 and metrics[0].mem_total > 0
    assert Sandbox.get_metrics(sandbox.sandbox_id, start=now() - datetime.timedelta(hours=3), end=now() - datetime.timedelta(hours=2)) == []
    with Raises(SandboxNotFoundException):
        Sandbox.get_metrics("nosuchsandbox")


@check("snapshots")
def _():
    sandbox.files.write("kept.txt", "kept")
    plain, named = sandbox.create_snapshot(), Sandbox.create_snapshot(sandbox.sandbox_id, name="py-snapshot")
    pages, got = sandbox.list_snapshots(limit=1), []
    while pages.has_next:
        got += [s.snapshot_id for s in pages.next_items()]
    assert got == [named.snapshot_id, plain.snapshot_id]
    assert len(Sandbox.list_snapshots(name="py-snapshot").next_items()) == 1
    copy = Sandbox.create(named.snapshot_id)
    assert copy.files.read("kept.txt") == "kept"
    assert copy.kill()
    assert Sandbox.delete_snapshot(named.snapshot_id) and not Sandbox.delete_snapshot(named.snapshot_id)
    assert Sandbox.delete_snapshot(plain.snapshot_id)


@check("fork")
def _():
    sandbox.files.write("before.txt", "before")
    forks = sandbox.fork(count=1) + Sandbox.fork(sandbox.sandbox_id, timeout=60)
    assert len(forks) == 2
    for fork in forks:
        assert not isinstance(fork, Exception), fork
        assert fork.files.read("before.txt") == "before"
        assert fork.kill()


@check("update_network")
def _():
    if not DOCKER:
        with Raises(SandboxException, "501"):
            sandbox.update_network({"deny_out": ["8.8.8.8/32"]})
        return
    sandbox.update_network({"deny_out": ["8.8.8.8/32"]})
    assert sandbox.get_info().network["deny_out"] == ["8.8.8.8/32"]
    Sandbox.update_network(sandbox.sandbox_id, {})


@check("ports of a sandbox")
def _():
    def ask(port):
        request = urllib.request.Request(URL, headers={"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": str(port)})
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    sandbox.files.write("site/index.html", "from inside")
    server = sandbox.commands.run("cd site && exec python3 -u -m http.server 8223 --bind 127.0.0.1", background=True)
    until("the server answers", lambda: ask(8223)[0] == 200)
    assert ask(8223)[1] == "from inside"
    assert ask(8224)[0] == 502 and "port is not open" in ask(8224)[1]
    assert sandbox.get_host(8223) == f"8223-{sandbox.sandbox_id}.{sandbox.sandbox_domain}"
    assert server.kill()


@check("wrong keys, and a limit")
def _():
    with Raises(AuthenticationException):
        Sandbox.create(api_key=WRONG_KEY)
    with Raises(SandboxNotFoundException):
        Sandbox.get_info(sandbox.sandbox_id, api_key=SMALL_KEY)
    assert not Sandbox.kill(sandbox.sandbox_id, api_key=SMALL_KEY)
    one = Sandbox.create(api_key=SMALL_KEY)
    with Raises(RateLimitException):
        Sandbox.create(api_key=SMALL_KEY, retries=0)
    assert Sandbox.kill(one.sandbox_id, api_key=SMALL_KEY)


@check("mistakes, and what is not supported")
def _():
    with Raises((SandboxException, NotFoundException), "no-such-template"):
        Sandbox.create("no-such-template")
    for what in (
        lambda: Volume.create("v"),
        lambda: Volume.list(),
        lambda: Secret.create("s", "v"),
        lambda: Secret.list().next_items(),
        lambda: Template.build(Template().from_base_image(), "mine"),
        lambda: Template.get_tags("base"),
        lambda: Template.assign_tags("base", "v1"),
        lambda: Template.remove_tags("base", "v1"),
        lambda: Sandbox.create(volume_mounts={"/v": "v"}),
    ):
        with Raises(Exception, "501"):
            what()
    assert Template.exists("code-interpreter-v1") and not Template.exists("no-such-template")
    assert Template.alias_exists("base")
    assert f"50005-{sandbox.sandbox_id}" in sandbox.get_mcp_url()


@check("kill")
def _():
    assert sandbox.kill() and not sandbox.kill() and not Sandbox.kill(sandbox.sandbox_id)
    assert not sandbox.is_running()
    with Raises(SandboxNotFoundException):
        sandbox.get_info()
    with Raises(SandboxNotFoundException):
        Sandbox.connect(sandbox.sandbox_id)
    with Sandbox.create() as brief:
        assert brief.is_running()
    assert not brief.is_running()


main()
