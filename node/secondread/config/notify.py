"""``[[notify]]``: who is told what happens."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from secondread.config.calls import CaFile, CallingAeTitle, CallTimeout, ProxyAddress
from secondread.config.destinations import DestinationTls, to_security
from secondread.config.section import Section
from secondread.config.source import resolved
from secondread.config.values import AeTitleOrNone, HostOrNone, Name, PortOrNone
from secondread.domain.destination import Destination
from secondread.domain.network import TlsSettings
from secondread.domain.telling import Event, Listener, ListenerKind
from secondread.domain.web_target import TimeLimits, WebTarget

EventName = Literal[
    "study-done",
    "study-held",
    "job-delivered",
    "job-safe",
    "job-failed",
    "destination-down",
    "destination-up",
]


class NotifyWeb(Section):
    """Where a webhook goes."""

    url: Name = Field(description="The whole address, such as 'https://ris.example/hooks/ai'.")
    secret_file: Name = Field(
        description="File with the secret that signs what is sent, in one line of at least 16 "
        "bytes; it is read each time. A relative path counts from the folder of the configuration "
        "file, here and below."
    )
    with_uids: bool = Field(
        False, description="Whether studies and results are named by UID besides the node's key."
    )
    ca: CaFile = ""
    proxy: ProxyAddress = ""


class NotifyRow(Section):
    """Who is told what happens, by webhook or Instance Availability Notification."""

    name: Name = Field(description="Your name for it; must be unique.")
    kind: Literal["webhook", "availability"] = Field(
        ListenerKind.WEBHOOK.value,
        description="'webhook' is a signed POST (needs [notify.web]); 'availability' a DICOM "
        "Instance Availability Notification, which tells where results can be had.",
    )
    events: list[EventName] = Field(
        default_factory=list,
        description="What it is told; docs/telling.md explains each. Default: 'job-safe' for "
        "availability, which is told nothing else; for a webhook everything.",
    )
    destinations: list[str] = Field(
        default_factory=list,
        description="Names of the only [[destinations]] that it is told about. Default: all.",
    )
    attempts_max: int = Field(
        400, ge=1, le=10000, description="Failed tries after which one message is given up."
    )
    ae_title: AeTitleOrNone = Field(
        "", description="The AE title to call; kind 'availability' needs it."
    )
    host: HostOrNone = Field(
        "", description="Its host name or IP address; kind 'availability' needs it."
    )
    port: PortOrNone = Field(0, description="Its DICOM port; kind 'availability' needs it.")
    calling_ae_title: CallingAeTitle = ""
    timeout_s: CallTimeout = 30.0
    tls: DestinationTls | None = Field(
        None, description="TLS for 'availability', as a table [notify.tls] below it. Default: none."
    )
    web: NotifyWeb | None = Field(
        None, description="Where a webhook goes, as a table [notify.web] below it."
    )


def to_listener(row: NotifyRow, own_ae_title: str, tls: TlsSettings, folder: Path) -> Listener:
    """A row as a record; ``folder`` is that of the configuration file, ``tls`` the node's own.

    Raises:
        ConfigurationError: the address of a webhook cannot be used.
    """
    kind = ListenerKind(row.kind)
    events = frozenset(Event(name) for name in row.events) or frozenset(Event)
    if kind is ListenerKind.AVAILABILITY:
        events = frozenset({Event.JOB_SAFE})
    call = Destination(
        name=row.name,
        ae_title=row.ae_title,
        host=row.host,
        port=row.port,
        calling_ae_title=row.calling_ae_title or own_ae_title,
        timeout_s=float(row.timeout_s),
        security=to_security(row.tls, tls, folder) if row.tls is not None else None,
    )
    return Listener(
        name=row.name,
        kind=kind,
        events=events,
        destinations=frozenset(row.destinations),
        web=to_webhook_target(row, tls, folder),
        secret_file=resolved(folder, row.web.secret_file) if row.web is not None else Path(),
        with_uids=row.web is not None and row.web.with_uids,
        call=call if kind is ListenerKind.AVAILABILITY else None,
        attempts_max=row.attempts_max,
    )


def to_webhook_target(row: NotifyRow, tls: TlsSettings, folder: Path) -> WebTarget | None:
    """Where the POST of a row goes; None where it is told otherwise.

    Raises:
        ConfigurationError: the address cannot be used.
    """
    if row.web is None:
        return None
    answer_s = float(row.timeout_s)
    return WebTarget(
        name=row.name,
        url=row.web.url,
        tls=TlsSettings(certificate=tls.certificate, key=tls.key, ca=tls.ca),
        ca=resolved(folder, row.web.ca) if row.web.ca else None,
        proxy=row.web.proxy,
        limits=TimeLimits(connect_s=answer_s, each_s=answer_s, whole_s=2 * answer_s),
    )
