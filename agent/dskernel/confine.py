"""Shuts a program in before it executes: Landlock, no new privileges, and of root's powers a container's.

Landlock is an allow list of the kernel's for a process and all that it starts: what no rule names can't be
opened, run, made, removed or renamed. An older kernel knows fewer rights; those it does not know it does not
guard either. The rules are held together by a ruleset's descriptor, made once for many programs.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from stat import S_ISDIR

from proctree import LINUX

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same numbers on every architecture
CREATE_RULESET_VERSION = 1
RULE_PATH_BENEATH = 1
PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP = 38, 24

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << n for n in range(6))
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = (1 << n for n in range(6, 13))
REFER, TRUNCATE, IOCTL_DEV = (1 << n for n in range(13, 16))
FIRST_RIGHTS = REFER - 1  # what the first version knows
LATER_RIGHTS = ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEV))
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV  # a file's rule may have no others

SCOPE_ABSTRACT_SOCKET, SCOPE_SIGNAL = 1, 2
SCOPES_SINCE = 6

# What the lists of a request grant. Nothing grants the making of devices.
GRANTS = {
    "read": EXECUTE | READ_FILE | READ_DIR,
    "write": FIRST_RIGHTS & ~(MAKE_CHAR | MAKE_BLOCK) | REFER | TRUNCATE,
    "devices": READ_FILE | WRITE_FILE | READ_DIR | TRUNCATE | IOCTL_DEV,
    # Files of one's own among those of others, whose names can't be listed: shared memory and semaphores.
    "shared": READ_FILE | WRITE_FILE | TRUNCATE | MAKE_REG | REMOVE_FILE,
}

# What a container's root keeps: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP,
# NET_BIND_SERVICE, NET_RAW, SYS_CHROOT, AUDIT_WRITE, SETFCAP. The others load kernel modules, mount, read
# memory and raise limits.
KEPT_CAPABILITIES = {0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 29, 31}
DROPPED_CAPABILITIES = [n for n in range(64) if n not in KEPT_CAPABILITIES]

_libc = ctypes.CDLL(None, use_errno=True) if LINUX else None


def _call(number: int, *args) -> int:
    """Makes a system call. Raises OSError."""
    if _libc is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    # A long in every place, as in a register: ctypes would pass 32 bits of an int.
    longs = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    result = _libc.syscall(ctypes.c_long(number), *longs)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def version() -> int:
    """Returns the version of Landlock that the kernel offers. Raises OSError where it offers none."""
    return _call(CREATE_RULESET, None, 0, CREATE_RULESET_VERSION)


def guarded(abi: int) -> tuple[int, int]:
    """Returns the rights and the scopes that a version of Landlock can guard."""
    rights = FIRST_RIGHTS
    for since, right in LATER_RIGHTS:
        if abi >= since:
            rights |= right
    return rights, (SCOPE_ABSTRACT_SOCKET | SCOPE_SIGNAL) if abi >= SCOPES_SINCE else 0


def ruleset(rules: dict[str, list[str]], abi: int = 0) -> int:
    """Returns the descriptor of a ruleset; the caller closes it.

    The rules are lists of paths by what they grant, see GRANTS; links are followed, and a path that is not
    there grants nothing. Raises OSError, and ValueError for what is no such dict.
    """
    rights, scopes = guarded(abi or version())
    attributes = struct.pack("=QQQ", rights, 0, scopes)  # what an older kernel does not know is 0
    fd = _call(CREATE_RULESET, ctypes.c_char_p(attributes), len(attributes), 0)
    try:
        for kind, paths in rules.items():
            if kind not in GRANTS:
                raise ValueError("unknown rule %r" % kind)
            for path in paths:
                _grant(fd, path, GRANTS[kind] & rights)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _grant(fd: int, path: str, rights: int) -> None:
    try:
        place = os.open(path.encode("utf-8", "surrogateescape"), os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # it is not there, or it can't be reached
    try:
        if not S_ISDIR(os.fstat(place).st_mode):
            rights &= OF_FILES
        _call(ADD_RULE, fd, RULE_PATH_BENEATH, ctypes.c_char_p(struct.pack("=Qi", rights, place)), 0)
    finally:
        os.close(place)


def _give_up(capabilities) -> None:
    """Takes capabilities from this process itself. Raises OSError.

    The bounding set counts for what is executed, and a fork executes nothing.
    """
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; of the lower 32 and of the others
    if _libc.capget(header, data) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    for capability in capabilities:
        for i in range(3):
            data[3 * (capability // 32) + i] &= ~(1 << capability % 32) & 0xFFFFFFFF
    if _libc.capset(header, data) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def enter(fd: int) -> None:
    """Puts this process, and all that it will start, under a ruleset for good. Raises OSError."""
    for capability in DROPPED_CAPABILITIES:
        if _libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) != 0:
            break  # past the last that this kernel knows, or we are not root and have none
    _give_up(DROPPED_CAPABILITIES)
    if _libc.prctl(PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    _call(RESTRICT_SELF, fd, 0)
