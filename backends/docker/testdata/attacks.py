"""Tries to leave its container in every way that a test knows, and tells of each what became of it.

Takes one JSON object: secrets (paths of files on the machine outside), word (what they hold), socket (an abstract name out there),
shm (a key of System V memory out there), neighbour (a word that a process of another sandbox has among its arguments).
Prints one JSON object: attempt -> null when it was refused, else what it gained. Names that begin with "agent:" are about the agent,
not about the machine.
"""

import ctypes
import glob
import json
import os
import platform
import socket
import struct
import subprocess
import sys

told = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
ARM = platform.machine() == "aarch64"
# name -> number on x86_64, on aarch64
NUMBERS = {
    "ptrace": (101, 117),
    "syslog": (103, 116),
    "pivot_root": (155, 41),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "mount": (165, 40),
    "umount2": (166, 39),
    "swapon": (167, 224),
    "reboot": (169, 142),
    "sethostname": (170, 161),
    "iopl": (172, None),
    "ioperm": (173, None),
    "init_module": (175, 105),
    "delete_module": (176, 106),
    "quotactl": (179, 60),
    "kexec_load": (246, 104),
    "add_key": (248, 217),
    "keyctl": (250, 219),
    "unshare": (272, 97),
    "perf_event_open": (298, 241),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "setns": (308, 268),
    "process_vm_readv": (310, 270),
    "finit_module": (313, 273),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "pidfd_open": (434, 434),
    "clone3": (435, 435),
    "pidfd_getfd": (438, 438),
    "mount_setattr": (442, 442),
    "socket": (41, 198),
}
results = {}


def attempt(name, do):
    """Notes what an attempt gained; an exception is a refusal."""
    try:
        gained = do()
        results[name] = None if gained in (None, False, "", [], b"") else str(gained)[:300]
    except Exception:
        results[name] = None


def call(name, *args):
    """Makes a system call; its value when that is no error."""
    number = NUMBERS[name][ARM]
    if number is None:
        return None
    value = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    return None if value < 0 else "returned %d" % value


def inchild(do):
    """Does it in a child, for what changes the process."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            gained = do()
            os.write(w, str(gained or "").encode())
        finally:
            os._exit(0)
    os.close(w)
    out = b""
    while part := os.read(r, 4096):
        out += part
    os.close(r)
    os.waitpid(pid, 0)
    return out.decode()


def read(path):
    with open(path, "rb") as f:
        return f.read(4096)


def has_word(path):
    return told["word"].encode() in read(path)


# Files of the machine.
for secret in told["secrets"]:
    attempt("secret " + secret, lambda: has_word(secret))
    for way in ("/proc/1/root", "/proc/self/root/../..", "/proc/1/cwd/../../..", "/dev/fd/../../../..", "/.."):
        attempt("secret by %s %s" % (way, secret), lambda: has_word(way + secret))
attempt(
    "secret by name anywhere",
    lambda: subprocess.run(["find", "/", "-name", os.path.basename(told["secrets"][0])], capture_output=True, text=True).stdout,
)


def shocker():
    """Opens the root of the underlying file system by its number."""
    fd = os.open("/etc/hostname", os.O_RDONLY)  # lies on the machine's file system
    handle = struct.pack("Ii", 8, 1) + struct.pack("II", 2, 0)
    return call("open_by_handle_at", fd, ctypes.create_string_buffer(handle), os.O_RDONLY)


attempt("files by handle", shocker)

# Sockets of the engine and of the machine.
for path in ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock", "/var/run/docker/containerd/containerd.sock"):
    attempt("engine's socket " + path, lambda: os.path.exists(path))


def abstract():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(3)
    s.connect("\0" + told["socket"])
    return "connected"


attempt("abstract socket of the machine", abstract)
attempt("abstract sockets that others have", lambda: [x for x in read("/proc/net/unix").decode().split() if "@" in x and "shim" in x])
attempt("memory of the machine by key", lambda: libc.shmget(told["shm"], 0, 0) >= 0)
attempt("vsock", lambda: socket.socket(40, socket.SOCK_STREAM))
attempt("vsock with a high half", lambda: call("socket", (1 << 32) | 40, 1, 0))
attempt("raw packets", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
attempt("raw IPv4", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
attempt("raw IPv6", lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58))
attempt("audit", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9))
attempt("netfilter", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12))
attempt("kernel's crypto", lambda: socket.socket(38, socket.SOCK_SEQPACKET))
attempt(
    "network settings",
    lambda: (
        subprocess.run(
            "ip link add d0 type dummy || ip addr add 10.9.9.9/8 dev lo || ifconfig lo 10.9.9.9", shell=True, capture_output=True
        ).returncode
        == 0
    ),
)

# Mounts and namespaces.
NULL = ctypes.c_void_p(None)
for source, target, kind, flags in (
    (b"none", b"/mnt", b"tmpfs", 0),
    (b"proc", b"/mnt", b"proc", 0),
    (b"sys", b"/mnt", b"sysfs", 0),
    (b"none", b"/mnt", b"cgroup", 0),
    (b"none", b"/mnt", b"cgroup2", 0),
    (b"/", b"/mnt", b"none", 4096),
    (b"none", b"/proc/sys", b"none", 32),
    (b"none", b"/sys", b"none", 32),
    (b"overlay", b"/mnt", b"overlay", 0),
    (b"/dev/vda", b"/mnt", b"ext4", 0),
):
    attempt("mount %s at %s flags %d" % (kind.decode(), target.decode(), flags), lambda: call("mount", source, target, kind, flags, NULL))
for target in (b"/proc/sys", b"/proc/kcore", b"/sys/firmware", b"/etc/hostname"):
    attempt("umount " + target.decode(), lambda: call("umount2", target, 2))
attempt("fsopen", lambda: call("fsopen", b"tmpfs", 0))
attempt("open_tree", lambda: call("open_tree", -100, b"/", 1))
attempt("mount_setattr", lambda: call("mount_setattr", -100, b"/proc/sys", 0, ctypes.create_string_buffer(32), 32))
attempt("pivot_root", lambda: call("pivot_root", b"/tmp", b"/tmp"))
for name, flag in (
    ("user", 1 << 28),
    ("mount", 1 << 17),
    ("pid", 1 << 29),
    ("net", 1 << 30),
    ("ipc", 1 << 27),
    ("uts", 1 << 26),
    ("cgroup", 1 << 25),
    ("time", 1 << 7),
):
    attempt("new namespace " + name, lambda: inchild(lambda: call("unshare", flag)))
    attempt("new namespace by clone3 " + name, lambda: call("clone3", ctypes.create_string_buffer(struct.pack("11Q", flag, *[0] * 10)), 88))
for path in glob.glob("/proc/1/ns/*"):
    if os.path.basename(path) != "user":
        attempt("join " + path, lambda: inchild(lambda: call("setns", os.open(path, os.O_RDONLY), 0)))

# Devices.


def disks():
    for line in open("/proc/partitions").read().splitlines()[2:]:
        major, minor, _, name = line.split()
        yield name, os.makedev(int(major), int(minor))


for name, number in list(disks())[:4]:

    def disk():
        path = "/tmp/node-" + name
        os.mknod(path, 0o60600, number)
        return os.open(path, os.O_RDONLY)

    attempt("disk " + name, disk)
attempt("node of memory", lambda: os.mknod("/tmp/mem", 0o20600, os.makedev(1, 1)) or "made")
usual = {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "console"}
attempt(
    "devices that are there",
    lambda: [d for d in os.listdir("/dev") if d not in usual | {"pts", "shm", "mqueue", "fd", "stdin", "stdout", "stderr", "core"}],
)
for path in ("/dev/mem", "/dev/kmsg", "/dev/kvm", "/dev/fuse", "/dev/vsock", "/proc/kcore", "/proc/kmsg", "/dev/cpu/0/msr"):
    attempt("open " + path, lambda: read(path))

# The kernel.
buf = ctypes.create_string_buffer(4096)
for name, args in (
    ("init_module", (buf, 4096, b"")),
    ("finit_module", (0, b"", 0)),
    ("delete_module", (b"loop", 0)),
    ("kexec_load", (0, 0, 0, 0)),
    ("bpf", (0, buf, 64)),
    ("perf_event_open", (buf, 0, -1, -1, 0)),
    ("iopl", (3,)),
    ("ioperm", (0, 1, 1)),
    ("syslog", (3, buf, 4096)),
    ("acct", (b"/tmp/acct",)),
    ("settimeofday", (buf, NULL)),
    ("sethostname", (b"x", 1)),
    ("swapon", (b"/tmp/x", 0)),
    ("keyctl", (0, -3, 1)),
    ("add_key", (b"user", b"x", b"y", 1, -3)),
    ("userfaultfd", (0,)),
    ("io_uring_setup", (8, buf)),
    ("quotactl", (0, b"/dev/vda", 0, buf)),
    ("reboot", (0xFEE1DEAD, 672274793, 0, NULL)),
):
    attempt("call " + name, lambda: call(name, *args))
attempt(
    "addresses of the kernel",
    lambda: [x for x in read("/proc/kallsyms").decode().splitlines()[:20] if not x.startswith("0000000000000000")],
)
attempt("modprobe", lambda: subprocess.run(["modprobe", "dummy"], capture_output=True).returncode == 0)


def writable(top):
    """Files of the kernel that open for writing. Nothing is written."""
    found = []
    for dir, _, names in os.walk(top):
        for name in names:
            try:
                os.close(os.open(os.path.join(dir, name), os.O_WRONLY | os.O_NONBLOCK))
                found.append(os.path.join(dir, name))
            except OSError:
                pass
    return found


for top in ("/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs", "/sys"):
    attempt("write " + top, lambda: writable(top))
for path in ("/proc/sysrq-trigger", "/proc/timer_list", "/proc/mtrr", "/proc/latency_stats"):
    attempt("write " + path, lambda: os.path.exists(path) and not os.stat(path).st_rdev and os.open(path, os.O_WRONLY) and "opened")
for path in glob.glob("/sys/fs/cgroup/*") + ["/sys/fs/cgroup"]:
    if not os.path.exists(path + "/cgroup.procs"):
        continue  # in version 1 the top is a file system in memory, of the container's own
    attempt("make a control group in " + path, lambda: os.mkdir(path + "/x") or "made")

# Other processes.


def processes():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            yield int(pid), read("/proc/%s/cmdline" % pid)
        except OSError:
            pass


attempt(
    "processes of another sandbox",
    lambda: [
        p
        for p in processes()
        if told["neighbour"].encode() in p[1] and p[0] not in (os.getpid(), os.getppid()) and b"attacks.py" not in p[1]
    ],
)
attempt("processes of the machine", lambda: [p for p in processes() if b"dockerd" in p[1] or b"containerd" in p[1]])
attempt("agent: attach", lambda: call("ptrace", 16, 1, 0, 0))
attempt("agent: seize", lambda: call("ptrace", 0x4206, 1, 0, 0))
attempt("agent: memory", lambda: read("/proc/1/mem") or "opened")
far = ctypes.create_string_buffer(struct.pack("QQ", 0x400000, 64))  # where a static program begins
near = ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(buf), 64))
attempt("agent: memory by call", lambda: call("process_vm_readv", 1, near, 1, far, 1, 0))
attempt("agent: files", lambda: os.listdir("/proc/1/fd"))
attempt("agent: environment", lambda: read("/proc/1/environ"))


def steal():
    pidfd = libc.syscall(ctypes.c_long(NUMBERS["pidfd_open"][ARM]), 1, 0)
    return pidfd >= 0 and call("pidfd_getfd", pidfd, 0, 0)


attempt("agent: descriptors", steal)
attempt("agent: socket", lambda: socket.socket(socket.AF_UNIX).connect("/run/ds-sandbox-agent/sock") or "connected")
attempt("agent: binary", lambda: os.open("/opt/ds-sandbox/bin/ds-sandbox-agent", os.O_WRONLY) and "opened")

print(json.dumps(results))
