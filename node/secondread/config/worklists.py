"""``[[worklists]]``: where others schedule work for the node."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from secondread.config.calls import (
    CaFile,
    CallingAeTitle,
    CallTimeout,
    OverPlainHttp,
    ProxyAddress,
    UserShown,
)
from secondread.config.destinations import DestinationTls, to_security
from secondread.config.section import Section
from secondread.config.source import resolved
from secondread.config.values import AeTitleOrNone, HostOrNone, Name, PortOrNone
from secondread.domain.code import Code
from secondread.domain.destination import Destination
from secondread.domain.network import TlsSettings
from secondread.domain.web_target import Credentials, Scheme, TimeLimits, WebTarget
from secondread.domain.worklist import WorklistKind, WorklistTerms

_PARTS = 3
_SHORT_MAX, _LONG_MAX = 16, 64
_OWN = Code("SECONDREAD", "99SECONDREAD", "SecondRead")


def _check_code(text: str) -> str:
    """SH, SH and LO of PS3.3 table 8.8-1."""
    value, scheme, meaning, *more = (*text.split("^"), "", "")
    limits = ((value, _SHORT_MAX), (scheme, _SHORT_MAX), (meaning, _LONG_MAX))
    if any(more) or not all(0 < len(part.strip()) <= most for part, most in limits):
        raise ValueError(
            "must be a code: value, coding scheme and meaning with '^' between them, such as "
            "'110005^DCM^Interpretation', of 16, 16 and 64 characters at the most"
        )
    if not (text.isascii() and text.isprintable()) or "\\" in text:
        raise ValueError("may hold only plain ASCII letters, digits and signs, and no backslash")
    return text


CodeText = Annotated[str, AfterValidator(_check_code)]


class WorklistWeb(Section):
    """The server of a worklist of kind 'web' (UPS-RS)."""

    url: Name = Field(
        description="Where its services begin, such as 'https://ris.example/dicom-web'; items are "
        "at /workitems below it."
    )
    auth: Literal["none", "basic", "bearer"] = Field(
        Scheme.NONE.value,
        description="What the node shows: 'none', 'basic' (user name and password) or 'bearer' (a "
        "token). The certificate in [tls] is shown besides, where the server asks for one.",
    )
    username: UserShown = ""
    secret_file: str = Field(
        "",
        description="File with the password or the token in one line. A relative path counts from "
        "the folder of the configuration file, here and below.",
    )
    ca: CaFile = ""
    over_plain_http: OverPlainHttp = False
    proxy: ProxyAddress = ""
    in_array: bool = Field(
        True,
        description="Whether a data set is sent within an array, as PS3.18 11.1.3 has it; dcm4chee "
        "wants false.",
    )


class WorklistRow(Section):
    """Worklists of others (Unified Procedure Step) that the node looks into for work."""

    name: Name = Field(description="Your name for it; must be unique.")
    kind: Literal["dicom", "web"] = Field(
        WorklistKind.DICOM.value,
        description="'dicom' is UPS Pull; 'web' is UPS-RS (needs [worklists.web]).",
    )
    workitem_codes: list[CodeText] = Field(
        min_length=1,
        description="The kinds of work that the node takes on: codes such as "
        "'110005^DCM^Interpretation'.",
    )
    station_codes: list[CodeText] = Field(
        default_factory=list,
        description="Performers, as codes, for one of which an item must be scheduled. Default: "
        "any, and items for nobody in particular.",
    )
    source: str = Field(
        "",
        description="Name of the one of [[destinations]] that has the images, to fetch them from. "
        "Empty: they come by themselves.",
    )
    poll_s: float = Field(
        15.0, ge=1, le=86400, description="Seconds between two searches for work."
    )
    open_max: int = Field(
        4, ge=1, le=1000, description="Items that the node holds at a time; others may take more."
    )
    wait_s: float = Field(
        3600.0,
        ge=1,
        le=604800,
        description="Seconds that a claimed item waits for its first image; then it is given up.",
    )
    ae_title: AeTitleOrNone = Field("", description="The AE title to call; 'dicom' needs it.")
    host: HostOrNone = Field("", description="Its host name or IP address; 'dicom' needs it.")
    port: PortOrNone = Field(0, description="Its DICOM port; 'dicom' needs it.")
    calling_ae_title: CallingAeTitle = ""
    timeout_s: CallTimeout = 30.0
    tls: DestinationTls | None = Field(
        None, description="TLS for 'dicom', as a table [worklists.tls] below it. Default: none."
    )
    web: WorklistWeb | None = Field(
        None, description="The server of 'web', as a table [worklists.web] below it."
    )


def to_worklist(
    row: WorklistRow, own_ae_title: str, tls: TlsSettings, folder: Path
) -> WorklistTerms:
    """A row as a record; ``folder`` is that of the configuration file, ``tls`` the node's own.

    Raises:
        ConfigurationError: the address of a server cannot be used.
    """
    kind = WorklistKind(row.kind)
    stations = tuple(_code(text) for text in row.station_codes)
    call = Destination(
        name=row.name,
        ae_title=row.ae_title,
        host=row.host,
        port=row.port,
        calling_ae_title=row.calling_ae_title or own_ae_title,
        timeout_s=float(row.timeout_s),
        security=to_security(row.tls, tls, folder) if row.tls is not None else None,
    )
    return WorklistTerms(
        name=row.name,
        kind=kind,
        workitem_codes=tuple(_code(text) for text in row.workitem_codes),
        station_codes=stations,
        station=stations[0] if stations else _OWN,
        call=call if kind is WorklistKind.DICOM else None,
        web=to_worklist_target(row, tls, folder),
        in_array=row.web is None or row.web.in_array,
        poll_s=float(row.poll_s),
        open_max=row.open_max,
        source=row.source,
        wait_s=float(row.wait_s),
    )


def to_worklist_target(row: WorklistRow, tls: TlsSettings, folder: Path) -> WebTarget | None:
    """The server that a row names; None where it names none.

    Raises:
        ConfigurationError: the address cannot be used, or a secret would go in the clear.
    """
    table = row.web
    if table is None:
        return None
    answer_s = float(row.timeout_s)
    return WebTarget(
        name=row.name,
        url=table.url,
        credentials=Credentials(
            scheme=Scheme(table.auth),
            username=table.username,
            file=resolved(folder, table.secret_file) if table.secret_file else Path(),
            over_plain_http=table.over_plain_http,
        ),
        tls=TlsSettings(certificate=tls.certificate, key=tls.key, ca=tls.ca),
        ca=resolved(folder, table.ca) if table.ca else None,
        proxy=table.proxy,
        limits=TimeLimits(connect_s=answer_s, each_s=answer_s, whole_s=2 * answer_s),
    )


def _code(text: str) -> Code:
    value, scheme, meaning = text.split("^")
    return Code(value.strip(), scheme.strip(), meaning.strip())
