"""What must hold between the ports, the certificates and the peers, and what is odd about them."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

from secondread.config.faults import Fault
from secondread.config.positions import KeyPath
from secondread.config.remark import Remark
from secondread.config.schema import DicomSection, PeerRow, TlsSection
from secondread.config.settings import Settings
from secondread.config.source import Source, resolved
from secondread.config.tables import Tables, place
from secondread.domain.network import Peer, TlsSettings

_FILE_MAX_BYTES = 1024 * 1024
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_KEY = b"PRIVATE KEY-----"
_LOCKED_KEY = b"ENCRYPTED"


def needs_tls(row: PeerRow) -> bool:
    """Whether a peer may come by TLS only; a certificate can be asked for nowhere else."""
    return row.tls or bool(row.certificate_sha256 or row.certificate_ca)


def to_tls_settings(section: TlsSection, folder: Path) -> TlsSettings:
    """[tls] as a record; ``folder`` is that of the configuration file."""
    certificate, key, ca = (
        resolved(folder, text) if text else Path()
        for text in (section.certificate, section.key, section.ca)
    )
    return TlsSettings(section.port, certificate, key, ca, section.warn_days)


def check_doors(source: Source, tables: Tables) -> Iterator[Fault]:
    """Faults between [dicom], [tls] and [[peers]]."""
    dicom, tls = tables.sections["dicom"], tables.sections["tls"]
    if isinstance(tls, TlsSection):
        if isinstance(dicom, DicomSection):
            yield from _port_faults(source, dicom, tls)
        if tls.port:
            yield from _file_faults(source, tls)
    for index, peer in enumerate(tables.rows["peers"]):
        if isinstance(peer, PeerRow):
            port = tls.port if isinstance(tls, TlsSection) else None
            yield from _peer_faults(source, index, peer, port)


def _port_faults(source: Source, dicom: DicomSection, tls: TlsSection) -> Iterator[Fault]:
    if not dicom.port and not tls.port:
        sentence = (
            "'port' is 0 in [dicom] and in [tls], so that nobody could call. Set one of them, "
            "such as port = 11112 in [dicom]."
        )
        yield Fault(place(source, ("dicom", "port")), sentence)
    if dicom.port and dicom.port == tls.port:
        sentence = (
            f"'port' in [tls] is that of [dicom], {tls.port}; DICOM with and without TLS need a "
            "port each. The usual one for TLS is 2762."
        )
        yield Fault(place(source, ("tls", "port")), sentence)


def _file_faults(source: Source, tls: TlsSection) -> Iterator[Fault]:
    files = {"certificate": tls.certificate, "key": tls.key, "ca": tls.ca}
    for key, text in files.items():
        if not text:
            sentence = f"[tls] has a port, so it needs the key '{key}', a PEM file."
            yield Fault(place(source, ("tls", "port")), sentence)
            continue
        trouble = pem_trouble(resolved(source.path.parent, text), is_key=key == "key")
        if trouble:
            yield Fault(place(source, ("tls", key)), f"'{key}' in [tls] {trouble}")


def _peer_faults(
    source: Source, index: int, peer: PeerRow, tls_port: int | None
) -> Iterator[Fault]:
    """``tls_port`` is None where [tls] is faulty itself, and not to be held against the peer."""
    name = f"[[peers]] '{peer.name}'"

    def fault(key: str, sentence: str) -> Fault:
        path: KeyPath = ("peers", index, key)
        return Fault(place(source, path), sentence)

    if needs_tls(peer) and tls_port == 0:
        key = next(
            key for key in ("tls", "certificate_sha256", "certificate_ca") if _set(peer, key)
        )
        yield fault(
            key,
            f"'{key}' in {name} asks for TLS, but [tls] has no port; set one, or remove '{key}'.",
        )
    if peer.certificate_ca:
        trouble = pem_trouble(resolved(source.path.parent, peer.certificate_ca))
        if trouble:
            yield fault("certificate_ca", f"'certificate_ca' in {name} {trouble}")
    if bool(peer.username) != bool(peer.passcode_hash):
        there, absent = (
            ("username", "passcode_hash") if peer.username else ("passcode_hash", "username")
        )
        yield fault(
            there,
            f"{name} has '{there}' but not '{absent}'; give both or neither. The hash is made by: "
            f"secondread peer edit '{peer.name}' --username NAME.",
        )


def _set(peer: PeerRow, key: str) -> bool:
    return bool(getattr(peer, key))


def pem_trouble(path: Path, *, is_key: bool = False) -> str:
    """The end of a sentence about a PEM file that cannot be what it should be; or ''."""
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_MAX_BYTES)
    except PermissionError:
        # Keys are the node's alone; whoever checks the configuration need not be the node.
        return ""
    except OSError as error:
        return f"is '{path}', which cannot be read: {error.strerror}."
    if is_key and _LOCKED_KEY in content:
        return (
            f"is '{path}', which needs a password; the node starts without a person, so remove it."
        )
    if (_KEY if is_key else _CERTIFICATE) not in content:
        wanted = "private key" if is_key else "certificate"
        return f"is '{path}', which holds no {wanted} in PEM form."
    return ""


def door_remarks(settings: Settings) -> Iterator[Remark]:
    """What is allowed about ports and peers, but probably not meant."""
    for peer in settings.peers:
        yield from _peer_remarks(settings, peer)
    if settings.port and settings.peers and all(peer.tls for peer in settings.peers):
        yield Remark(
            f"Every peer must come by TLS, but port {settings.port} is open without it.",
            "Set port = 0 in [dicom].",
        )


def _peer_remarks(settings: Settings, peer: Peer) -> Iterator[Remark]:
    wide = [text for text in peer.addresses if ip_network(text, strict=False).prefixlen == 0]
    if wide and not (peer.certificate_sha256 or peer.certificate_ca):
        yield Remark(
            f"Peer '{peer.name}' may call from any address ({', '.join(wide)}) and needs no "
            "certificate of its own.",
            "Give its own address in [[peers]], or certificate_sha256.",
        )
    if peer.username and not peer.tls:
        yield Remark(
            f"Peer '{peer.name}' says its passcode without TLS, where it can be overheard.",
            "Set tls = true in its [[peers]].",
        )
    if len(settings.peers) > 1 and peer.quotas.associations >= settings.max_associations:
        yield Remark(
            f"Peer '{peer.name}' alone may take all {settings.max_associations} associations of "
            "the node.",
            "Lower max_associations in its [[peers]], or raise it in [dicom].",
        )
    taken = settings.sop_classes | settings.extra_sop_classes
    if settings.sop_classes and (never := sorted(peer.sop_classes - taken)):
        yield Remark(
            f"Peer '{peer.name}' may store {', '.join(never)}, which the node does not take.",
            "Add it to sop_classes in [dicom], or remove it from the peer.",
        )
