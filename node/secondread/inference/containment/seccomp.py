"""seccomp: which system calls a contained process may make (seccomp(2), Linux 3.5).

Nothing that computes needs a connection, another process or another's memory, so whoever asks for
one is ended at once: an error could be caught, and nobody would hear of it. What libraries ask for
by habit is answered with an error instead.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from secondread.inference.containment.system_calls import PR_SET_SECCOMP, control

_MODE_FILTER = 2
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_CLONE_THREAD = 0x10000
_X32 = 0x40000000

_ARCHITECTURES = MappingProxyType({"x86_64": 0xC000003E, "aarch64": 0xC00000B7})

# name: (x86_64, aarch64); None where an architecture has no such call
_Table = Mapping[str, tuple[int | None, int | None]]

_FATAL: _Table = MappingProxyType(
    {
        # connections
        "connect": (42, 203),
        "bind": (49, 200),
        "listen": (50, 201),
        "accept": (43, 202),
        "accept4": (288, 242),
        # processes
        "fork": (57, None),
        "vfork": (58, None),
        "execve": (59, 221),
        "execveat": (322, 281),
        "ptrace": (101, 117),
        "process_vm_readv": (310, 270),
        "process_vm_writev": (311, 271),
        "tkill": (200, 130),
        "rt_sigqueueinfo": (129, 138),
        "rt_tgsigqueueinfo": (297, 240),
        "pidfd_open": (434, 434),
        "pidfd_send_signal": (424, 424),
        "pidfd_getfd": (438, 438),
        # the file tree, namespaces and the machine
        "mount": (165, 40),
        "umount2": (166, 39),
        "pivot_root": (155, 41),
        "chroot": (161, 51),
        "unshare": (272, 97),
        "setns": (308, 268),
        "open_by_handle_at": (304, 265),
        "open_tree": (428, 428),
        "move_mount": (429, 429),
        "fsopen": (430, 430),
        "fsmount": (432, 432),
        "mount_setattr": (442, 442),
        "init_module": (175, 105),
        "finit_module": (313, 273),
        "delete_module": (176, 106),
        "kexec_load": (246, 104),
        "kexec_file_load": (320, 294),
        "reboot": (169, 142),
        "swapon": (167, 224),
        "swapoff": (168, 225),
        "settimeofday": (164, 170),
        "clock_settime": (227, 112),
        "clock_adjtime": (305, 266),
        "adjtimex": (159, 171),
        "bpf": (321, 280),
    }
)
_REFUSED: _Table = MappingProxyType(
    {
        # A pair could send datagrams to any socket with a name.
        "socketpair": (53, 199),
        # What they hold, no limit of memory counts.
        "memfd_create": (319, 279),
        "memfd_secret": (447, 447),
        "shmget": (29, 194),
        "semget": (64, 190),
        "msgget": (68, 186),
        "mq_open": (240, 180),
        "add_key": (248, 217),
        "request_key": (249, 218),
        "keyctl": (250, 219),
        "perf_event_open": (298, 241),
        "userfaultfd": (323, 282),
        "personality": (135, 92),
        "setpriority": (141, 140),
        "name_to_handle_at": (303, 264),
        "kcmp": (312, 272),
    }
)
# Where these are absent, the C library takes an older way, and that one can be looked into.
_ABSENT: _Table = MappingProxyType(
    {
        "clone3": (435, 435),
        "io_uring_setup": (425, 425),
        "io_uring_enter": (426, 426),
        "io_uring_register": (427, 427),
    }
)
_SOCKET, _CLONE, _PRLIMIT = (41, 198), (56, 220), (302, 261)
_SIGNALS = ((62, 129), (234, 131))
"""``kill`` and ``tgkill``: a process may send signals to itself, as ``abort`` does."""

_Instruction = tuple[int, int, int, int]


def restrict(*, fatal: bool) -> None:
    """From here on this process, and every thread of it, makes no forbidden system call.

    Args:
        fatal: end the process that tries; else its call fails, for a driver that probes.

    Raises:
        OSError: the kernel has no seccomp, or this architecture has no table here.
    """
    machine = os.uname().machine
    if machine not in _ARCHITECTURES:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    steps = b"".join(struct.pack("=HBBI", *step) for step in _program(machine, fatal))
    program = ctypes.create_string_buffer(steps, len(steps))
    # struct sock_fprog: a length, and a pointer on the next boundary of eight
    head = struct.pack("@HP", len(steps) // 8, ctypes.addressof(program))
    control(PR_SET_SECCOMP, _MODE_FILTER, ctypes.create_string_buffer(head, len(head)))


def _program(machine: str, fatal: bool) -> Iterator[_Instruction]:
    column = list(_ARCHITECTURES).index(machine)
    forbidden = _KILL if fatal else _ERROR | errno.EPERM
    yield (_LOAD, 0, 0, _ARCHITECTURE_AT)
    yield (_EQUAL, 1, 0, _ARCHITECTURES[machine])
    yield (_RETURN, 0, 0, _KILL)
    yield (_LOAD, 0, 0, _NUMBER_AT)
    if machine == "x86_64":
        yield (_AT_LEAST, 0, 1, _X32)
        yield (_RETURN, 0, 0, _KILL)
    answers = (
        (_FATAL, forbidden),
        (_REFUSED, _ERROR | errno.EPERM),
        (_ABSENT, _ERROR | errno.ENOSYS),
    )
    for table, answer in answers:
        for numbers in table.values():
            if (number := numbers[column]) is not None:
                yield (_EQUAL, 0, 1, number)
                yield (_RETURN, 0, 0, answer)
    yield from _if_first((_ANY_BIT, _CLONE_THREAD), _CLONE[column], _ALLOW, forbidden)
    # The C library looks for a daemon of names behind a Unix socket.
    local, unix = (_EQUAL, int(socket.AF_UNIX)), _ERROR | errno.EACCES
    yield from _if_first(local, _SOCKET[column], unix, forbidden)
    for numbers in _SIGNALS:
        yield from _if_first((_EQUAL, os.getpid()), numbers[column], _ALLOW, forbidden)
    # 0 is the caller itself; the C library asks in no other way.
    yield from _if_first((_EQUAL, 0), _PRLIMIT[column], _ALLOW, _ERROR | errno.EPERM)
    yield (_RETURN, 0, 0, _ALLOW)


def _if_first(
    test: tuple[int, int], number: int, then: int, otherwise: int
) -> Iterator[_Instruction]:
    """One answer to a system call if its first argument passes a test, another if not."""
    comparison, value = test
    yield (_EQUAL, 0, 4, number)
    yield (_LOAD, 0, 0, _FIRST_ARGUMENT_AT)
    yield (comparison, 1, 0, value)
    yield (_RETURN, 0, 0, otherwise)
    yield (_RETURN, 0, 0, then)
