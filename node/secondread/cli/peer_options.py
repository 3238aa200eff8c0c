"""The options that describe a peer, for the commands that add or change one."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from secondread.errors import UsageError


def _option(*names: str, **settings: Any) -> Any:
    return typer.Option(*names, show_default=False, **settings)


@dataclasses.dataclass(frozen=True, slots=True)
class PeerOptions:
    """What the operator said about a peer; None is nothing. An empty value takes a key out."""

    ae_title: Annotated[str | None, _option("--ae-title", help="The AE title it calls itself.")] = (
        None
    )
    address: Annotated[
        list[str] | None,
        _option("--address", help="An IP address or network it may call from; may be repeated."),
    ] = None
    quiet_s: Annotated[
        float | None,
        _option("--quiet-s", help="Seconds without a new object after which a study is complete."),
    ] = None
    may: Annotated[
        str | None,
        _option("--may", help="What it may do, such as echo,store; empty: everything."),
    ] = None
    sop_class: Annotated[
        list[str] | None,
        _option("--sop-class", help="A SOP Class UID that it may store; may be repeated."),
    ] = None
    transfer_syntax: Annotated[
        list[str] | None,
        _option("--transfer-syntax", help="A Transfer Syntax UID it may use; may be repeated."),
    ] = None
    tls: Annotated[
        bool | None, _option("--tls/--no-tls", help="Whether it may come by TLS only.")
    ] = None
    certificate_sha256: Annotated[
        str | None,
        _option("--certificate-sha256", help="Fingerprint that its TLS certificate must have."),
    ] = None
    certificate: Annotated[
        Path | None,
        _option("--certificate", help="The file of that certificate, instead of its fingerprint."),
    ] = None
    certificate_ca: Annotated[
        str | None,
        _option("--certificate-ca", help="File of the CA that must have signed its certificate."),
    ] = None
    username: Annotated[
        str | None,
        _option("--username", help="User name it must give; the passcode is asked for twice."),
    ] = None
    passcode_stdin: Annotated[
        bool, _option("--passcode-stdin", help="Read the passcode from standard input.")
    ] = False
    host: Annotated[str | None, _option("--host", help="Where it can be called.")] = None
    port: Annotated[int | None, _option("--port", help="Its own DICOM port; 0 is none.")] = None
    max_associations: Annotated[
        int | None, _option("--max-associations", help="Associations at a time.")
    ] = None
    associations_per_hour: Annotated[
        int | None, _option("--associations-per-hour", help="Associations in an hour; 0: no limit.")
    ] = None
    objects_per_hour: Annotated[
        int | None, _option("--objects-per-hour", help="Objects in an hour; 0: no limit.")
    ] = None
    gib_per_hour: Annotated[
        float | None, _option("--gib-per-hour", help="GiB in an hour; 0: no limit.")
    ] = None
    priority_max: Annotated[
        str | None,
        _option("--priority-max", help="The most urgent priority it gets: low, medium or high."),
    ] = None


def takes_peer_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options above, which reach it as one record, ``options``."""
    hints = get_type_hints(PeerOptions, include_extras=True)
    fields = dataclasses.fields(PeerOptions)
    own = inspect.signature(command, eval_str=True).parameters.values()
    only = inspect.Parameter.KEYWORD_ONLY
    kept = [parameter.replace(kind=only) for parameter in own if parameter.name != "options"]
    added = [
        inspect.Parameter(field.name, only, default=field.default, annotation=hints[field.name])
        for field in fields
    ]

    @functools.wraps(command)
    def call(**given: Any) -> None:
        options = PeerOptions(**{field.name: given.pop(field.name) for field in fields})
        command(options=options, **given)

    # Typer reads these to find its parameters.
    call.__dict__["__signature__"] = inspect.Signature([*kept, *added])
    call.__annotations__ = {}
    return call


def peer_values(options: PeerOptions) -> dict[str, object]:
    """The keys of a ``[[peers]]`` table that the options set; None takes a key out.

    Asks for the passcode where one is needed.

    Raises:
        UsageError: options contradict one another, or a file is not what it should be.
    """
    values: dict[str, object] = {}
    plain = ("ae_title", "quiet_s", "tls", "host", "port", "priority_max")
    quotas = ("max_associations", "associations_per_hour", "objects_per_hour", "gib_per_hour")
    for name in plain:
        values[name] = getattr(options, name)
    values["addresses"] = options.address
    if options.may is not None:
        values["may"] = [word.strip() for word in options.may.split(",") if word.strip()]
    values["sop_classes"] = _uids(options.sop_class)
    values["transfer_syntaxes"] = _uids(options.transfer_syntax)
    values["certificate_sha256"] = _fingerprint(options)
    if options.certificate_ca is not None:
        path = options.certificate_ca
        values["certificate_ca"] = str(Path(path).expanduser().absolute()) if path else ""
    values |= {name: getattr(options, name) for name in quotas}
    given = {name: value for name, value in values.items() if value is not None}
    order = ("ae_title", "addresses", "quiet_s", "may")
    given = {name: given[name] for name in (*order, *given) if name in given}
    given |= _identity(options)
    return {name: None if value in ("", []) else value for name, value in given.items()}


def _uids(given: list[str] | None) -> list[str] | None:
    return None if given is None else [uid for uid in given if uid]


def _fingerprint(options: PeerOptions) -> str | None:
    if options.certificate is None:
        said = options.certificate_sha256
        return None if said is None else said.replace(":", "").lower()
    if options.certificate_sha256 is not None:
        raise UsageError("Give --certificate or --certificate-sha256, not both.")
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        content = options.certificate.read_bytes()
        if b"-----BEGIN" in content:
            certificate = x509.load_pem_x509_certificate(content)
        else:
            certificate = x509.load_der_x509_certificate(content)
    except OSError as error:
        raise UsageError(f"'{options.certificate}' cannot be read: {error.strerror}.") from None
    except ValueError:
        raise UsageError(
            f"'{options.certificate}' holds no certificate, in PEM or DER form."
        ) from None
    return certificate.fingerprint(SHA256()).hex()


def _identity(options: PeerOptions) -> dict[str, object]:
    if options.username == "":
        return {"username": None, "passcode_hash": None}
    if options.username is None and not options.passcode_stdin:
        return {}
    from secondread.access.passcodes import hash_passcode

    named: dict[str, object] = {"username": options.username} if options.username else {}
    return {**named, "passcode_hash": hash_passcode(_passcode(options))}


def _passcode(options: PeerOptions) -> str:
    if options.passcode_stdin:
        passcode = sys.stdin.readline().rstrip("\r\n")
        if not passcode:
            raise UsageError("There was no passcode on standard input.")
        return passcode
    if not sys.stdin.isatty():
        raise UsageError(
            "Nobody is there to type the passcode: give it on standard input, with "
            "--passcode-stdin."
        )
    typed: str = typer.prompt("Passcode", hide_input=True, confirmation_prompt=True, err=True)
    return typed
