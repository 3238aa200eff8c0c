"""What a contained process may use up."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass

MIB = 1024**2

_BASE_MIB = 1024
"""Address space of Python, numpy, scipy and PyTorch before any model; measured: 0.9 GiB."""
_THREAD_MIB = 96
"""Stack and heap that each thread reserves, without using them; measured: 72 MiB."""
_PER_NAMESPACE = (5, 14)
"""From this kernel on, processes are counted for each user namespace by itself."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one contained process.

    Attributes:
        address_bytes: address space; 0 is no limit.
        file_bytes: the longest file it may write.
        open_files: file descriptors.
        threads: threads; counts only in a user namespace of its own, and not for root.
        niceness: how far it stands behind the node's own processes.
    """

    address_bytes: int = 0
    file_bytes: int = 64 * MIB
    open_files: int = 256
    threads: int = 256
    niceness: int = 5


def limits_of(memory_mib: int, threads: int, device: str) -> Limits:
    """The limits of a model that declares ``memory_mib``.

    A driver of a graphics card reserves addresses for all memory there is, so that their number
    means nothing; the deadline and the service manager's limits are what is left there.
    """
    if device.startswith("cuda"):
        return Limits(threads=64 * threads + 256)
    mebibytes = memory_mib + _BASE_MIB + _THREAD_MIB * threads
    return Limits(address_bytes=mebibytes * MIB, threads=8 * threads + 32)


def apply_limits(limits: Limits, *, own_users: bool) -> None:
    """Limit the calling process and what it starts; nobody can raise them again."""
    pairs = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_NOFILE: limits.open_files,
    }
    if limits.address_bytes:
        pairs[resource.RLIMIT_AS] = limits.address_bytes
    if own_users and _kernel() >= _PER_NAMESPACE:
        pairs[resource.RLIMIT_NPROC] = limits.threads
    for kind, wanted in pairs.items():
        ceiling = resource.getrlimit(kind)[1]
        value = wanted if ceiling == resource.RLIM_INFINITY else min(wanted, ceiling)
        resource.setrlimit(kind, (value, value))
    os.nice(limits.niceness)


def _kernel() -> tuple[int, ...]:
    numbers = os.uname().release.split("-")[0].split(".")[:2]
    return tuple(int(number) for number in numbers if number.isdigit())
