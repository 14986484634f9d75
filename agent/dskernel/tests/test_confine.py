"""What a program may touch that was started with rules."""

import errno
import os
import sys

import pytest
from supervise import FOLDER, host, run, start

sys.path.insert(0, str(FOLDER))

import confine  # noqa: E402

try:
    ABI = confine.version()
except OSError:
    ABI = 0

landlock = pytest.mark.skipif(ABI == 0, reason="no Landlock")
scopes = pytest.mark.skipif(ABI < confine.SCOPES_SINCE, reason="this Landlock has no scopes")


def rules(*write, **more):
    """What any program needs, and write."""
    system = [
        "/usr",
        "/bin",
        "/lib",
        "/lib64",
        "/etc",
        "/proc",
        sys.base_prefix,
        sys.prefix,
        "/no/such/folder",
    ]
    return {"read": system, "write": [str(w) for w in write], "devices": [os.devnull], **more}


def shell(keeper, command, **fields):
    """Runs a shell with rules; returns its exit code and output."""
    read, write = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    env = {"PATH": os.defpath}
    fields = {"argv": ["/bin/sh", "-c", command], "env": env, "cwd": "/", **fields}
    answer = keeper.call("start", [null, write, write], **fields)
    os.close(write)
    os.close(null)
    with open(read, encoding="utf-8") as f:
        output = f.read()
    assert "pid" in answer, answer
    return keeper.event("exit", answer["pid"])["code"], output


@pytest.mark.parametrize("abi", range(1, 9))
def test_an_older_kernel_is_asked_for_what_it_knows(abi):
    rights, scopes = confine.guarded(abi)
    assert rights & confine.FIRST_RIGHTS == confine.FIRST_RIGHTS == (1 << 13) - 1
    assert bool(rights & confine.REFER) == (abi >= 2)
    assert bool(rights & confine.TRUNCATE) == (abi >= 3)
    assert bool(rights & confine.IOCTL_DEV) == (abi >= 5)
    assert bool(scopes) == (abi >= 6)
    assert rights < 1 << 16


@landlock
@pytest.mark.parametrize("abi", range(1, ABI + 1))
def test_rules_fit_every_version(abi, tmp_path):
    fd = confine.ruleset(rules(tmp_path, shared=["/dev/shm"]), abi)
    assert not os.get_inheritable(fd)
    os.close(fd)


@landlock
def test_what_no_rule_names_is_out_of_reach(python, tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (outside / "secret").write_text("s3cret")
    with host(python) as h:
        keeper, _ = h.keep()
        code, output = shell(
            keeper,
            "cat ../out/secret; ls ../out; echo x > ../out/new; rm ../out/secret; mv ../out/secret .;"
            " ln -s ../out/secret l; cat l; echo fine > a; mkdir d; mv a d/b; cat d/b;"
            " cat <d/b >/dev/null; rm -r d",
            cwd=str(inside),
            confine=rules(inside),
        )
        assert code == 0, output
        assert "fine\n" in output and "s3cret" not in output
        assert output.count("ermission denied") == 6, output
        assert [p.name for p in outside.iterdir()] == ["secret"]
        assert shell(keeper, "cat %s" % (outside / "secret")) == (0, "s3cret"), "without rules"


@landlock
def test_links_of_rules_are_followed(python, tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    (tmp_path / "link").symlink_to(target)
    with host(python) as h:
        keeper, _ = h.keep()
        assert shell(keeper, "echo x > f", cwd=str(tmp_path / "link"), confine=rules(tmp_path / "link")) == (
            0,
            "",
        )
    assert (target / "f").read_text() == "x\n"


@landlock
def test_rules_may_change_from_start_to_start(python, tmp_path):
    with host(python) as h:
        keeper, pid = h.keep()
        for i in range(20):
            place = tmp_path / str(i % 3)
            place.mkdir(exist_ok=True)
            assert shell(keeper, "echo x > f", cwd=str(place), confine=rules(place)) == (0, "")
        open_files = os.listdir("/proc/%d/fd" % pid) if os.geteuid() == 0 else []
        assert len(open_files) < 15, "rulesets are left open"


@landlock
def test_program_out_of_reach_is_refused(python, tmp_path):
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o700)
    with host(python) as h:
        keeper, _ = h.keep()
        null = os.open(os.devnull, os.O_RDWR)
        answer = keeper.call("start", [null] * 3, argv=[str(tool)], env={}, cwd="/", confine=rules())
        os.close(null)
        assert (answer["stage"], answer["errno"]) == ("exec", errno.EACCES)


@landlock
def test_rules_that_make_no_sense_are_refused(python):
    with host(python) as h:
        keeper, _ = h.keep()
        null = os.open(os.devnull, os.O_RDWR)
        for wrong in ({"nonsense": ["/"]}, {"read": 7}, {"read": [7]}, [], "read"):
            answer = keeper.call("start", [null] * 3, argv=["/bin/true"], env={}, cwd="/", confine=wrong)
            assert answer["error"].startswith("bad request"), answer
        os.close(null)
        assert "pid" in start(keeper, ["/bin/true"])


@landlock
def test_program_gains_no_privileges(python):
    with host(python) as h:
        keeper, _ = h.keep()
        code, output = shell(keeper, "cat /proc/self/status", confine=rules())
        status = dict(line.split(":\t", 1) for line in output.splitlines() if ":\t" in line)
        assert code == 0 and status["NoNewPrivs"] == "1"
        effective = int(status["CapEff"], 16)
        assert not effective & ~sum(1 << c for c in confine.KEPT_CAPABILITIES)
        inherited, _ = run(keeper, ["/bin/true"])
        assert inherited["code"] == 0


@scopes
def test_keeper_and_supervisor_can_not_be_signalled(python):
    with host(python) as h:
        keeper, pid = h.keep()
        code, output = shell(
            keeper,
            "for p in %d %d %d; do kill -9 $p; done; kill -9 -1; echo alive"
            % (pid, h.process.pid, os.getpid()),
            confine=rules(),
        )
        assert output.count("ermitted") >= 3 and output.endswith("alive\n"), output
        assert shell(keeper, "echo yes") == (0, "yes\n")


@scopes
def test_keeper_signals_what_it_shut_in(python):
    with host(python) as h:
        keeper, _ = h.keep()
        null = os.open(os.devnull, os.O_RDWR)
        answer = keeper.call(
            "start", [null] * 3, argv=["/bin/sleep", "600"], env={}, cwd="/", confine=rules()
        )
        os.close(null)
        assert keeper.call("signal", pid=answer["pid"], signal="SIGTERM", group=True).keys() == {"id"}
        assert keeper.event("exit", answer["pid"])["signal"] == "SIGTERM"


@landlock
def test_secrets_in_the_memory_of_others_are_hidden(python):
    code = """
import os, sys
for name in "environ", "maps", "mem", "root/etc", "cwd":
    try:
        (os.listdir if name in ("root/etc", "cwd") else open)("/proc/%s/%s" % (sys.argv[1], name))
        print(name)
    except PermissionError:
        pass
"""
    with host(python) as h:
        keeper, _ = h.keep()
        argv = [sys.executable, "-I", "-S", "-c", code, str(os.getpid())]
        assert shell(keeper, "", argv=argv, confine=rules()) == (0, "")


@landlock
def test_shared_folder_takes_files_and_lists_none(python, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "other").write_text("x")
    with host(python) as h:
        keeper, _ = h.keep()
        code, output = shell(
            keeper,
            "echo mine > mine && cat mine && rm mine; ls .; mkdir d",
            cwd=str(shared),
            confine=rules(shared=[str(shared)]),
        )
        assert output.startswith("mine\n") and output.count("ermission denied") == 2, output
