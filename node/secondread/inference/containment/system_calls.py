"""The few calls to the kernel that Python has no name for."""

from __future__ import annotations

import ctypes
import os
import struct

PR_SET_PDEATHSIG = 1
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38

_CLONE_NEWIPC, _CLONE_NEWUSER, _CLONE_NEWNET = 0x08000000, 0x10000000, 0x40000000
_NAMESPACES = _CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC
_CAPABILITIES_VERSION = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def control(option: int, first: int = 0, second: int | ctypes.Array[ctypes.c_char] = 0) -> None:
    """``prctl(2)``; raises ``OSError``."""
    _check(_libc.prctl(option, ctypes.c_ulong(first), second, 0, 0))


def call(number: int, *arguments: object) -> int:
    """``syscall(2)``; raises ``OSError``."""
    return _check(_libc.syscall(number, *arguments))


def leave_namespaces() -> None:
    """Go into namespaces of users, network and IPC that nobody else is in.

    Raises:
        OSError: this system does not let its users do so.
    """
    _check(_libc.unshare(_NAMESPACES))


def drop_capabilities() -> None:
    """Give up every capability, those of a superuser of a namespace included."""
    header = struct.pack("=Ii", _CAPABILITIES_VERSION, 0)
    _check(_libc.capset(header, struct.pack("=6I", *(0,) * 6)))


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(result)
