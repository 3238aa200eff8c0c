"""Fields of sections that say whom the node calls, and how; each is worded here once."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from secondread.config.values import AeTitleOrNone, Username

__all__ = [
    "CaFile",
    "CallTimeout",
    "CallingAeTitle",
    "CertificateShown",
    "KeyShown",
    "OverPlainHttp",
    "ProxyAddress",
    "UserShown",
]

UserShown = Annotated[Username, Field(description="User name for 'basic'.")]
CaFile = Annotated[
    str,
    Field(
        description="PEM file of the CAs of which one must have signed its certificate. Empty: ca "
        "in [tls]."
    ),
]
CertificateShown = Annotated[
    str,
    Field(
        description="PEM file of the certificate that the node shows where it is asked for one. "
        "Empty: that in [tls], if there is one."
    ),
]
KeyShown = Annotated[
    str,
    Field(description="PEM file of its private key, without a password. Empty: that in [tls]."),
]
OverPlainHttp = Annotated[
    bool,
    Field(description="Whether the password or the token may go over a network without TLS."),
]
ProxyAddress = Annotated[
    str, Field(description="host:port of a proxy without a password. Empty: none.")
]
CallingAeTitle = Annotated[
    AeTitleOrNone,
    Field(description="What the node calls itself there. Empty: the node's own AE title."),
]
CallTimeout = Annotated[
    float, Field(ge=1, le=3600, description="Seconds to wait for a connection or an answer.")
]
