"""The DICOM port: free, or held by this node."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

from secondread.cli.probes.finding import Finding, failure, warning, well
from secondread.config.settings import Settings

_LISTENING = "0A"  # TCP_LISTEN, in /proc/net/tcp
_SUBJECT = "port"


def probe_port(settings: Settings) -> Finding:
    """Try to listen where the node would."""
    place = f"{settings.host}:{settings.port}"
    try:
        family, _, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror:
        return failure(_SUBJECT, f"'{settings.host}' is not known.", "Correct 'host' in [dicom].")
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(1)
        except OSError as error:
            return _not_free(error, settings.port, place)
    return well(_SUBJECT, f"{place} is free for the node.")


def _not_free(error: OSError, port: int, place: str) -> Finding:
    if error.errno == errno.EACCES:
        return failure(
            _SUBJECT,
            f"This user may not listen on {place}; ports below 1024 need a privilege.",
            "Take a higher port in [dicom], or grant CAP_NET_BIND_SERVICE.",
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return failure(
            _SUBJECT,
            f"{place} is not an address of this machine.",
            "Correct 'host' in [dicom]; 0.0.0.0 is every interface.",
        )
    if error.errno != errno.EADDRINUSE:
        return failure(_SUBJECT, f"{place}: {error.strerror}.", "Correct [dicom].")
    holder = find_listener(port)
    if holder is None:
        return warning(
            _SUBJECT,
            f"{place} is in use, by a process that this user may not see.",
            "If it is not the node, take another port in [dicom]. To see it: ss -ltnp.",
        )
    if "secondread" in holder:
        return well(_SUBJECT, f"{place} is in use by this node, which is running.")
    return failure(
        _SUBJECT,
        f"{place} is in use by another program: {holder.split()[0]}.",
        "Stop it, or take another port in [dicom].",
    )


def find_listener(port: int) -> str | None:
    """The command line of the process that listens on a TCP port; None where it cannot be seen."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    if not sockets:
        return None
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(descriptor.readlink()) in sockets:
                command = (descriptor.parent.parent / "cmdline").read_bytes()
                return command.replace(b"\0", b" ").decode(errors="replace").strip() or None
        except OSError:  # another user's process, or one that has ended meanwhile
            continue
    return None


def _listening_inodes(port: int) -> set[str]:
    found = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        try:
            lines = table.read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(fields[9])
    return found
