"""Kinds of values in the configuration, each with what is wrong with another, in words."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated

from pydantic import AfterValidator, Field

from secondread.config.patterns import check_pattern
from secondread.domain.passcode import PasscodeHash

_UID_MAX = 64
_UID_ROOT_MAX = 39  # leaves 24 digits of a 64-character UID (PS3.5 9.1) for the derived part
_AE_TITLE_MAX = 16


def _check_ae_title(title: str) -> str:
    """PS3.5 table 6.2-1, AE: 1 to 16 characters of ISO 646, no backslash, no control characters."""
    if not title.strip(" "):
        raise ValueError("must not be empty or all spaces")
    if title != title.strip(" "):
        raise ValueError("must not begin or end with a space; those do not count in an AE title")
    if len(title) > _AE_TITLE_MAX:
        raise ValueError(f"has {len(title)} characters; an AE title has 16 at the most")
    if not all(" " <= character <= "~" and character != "\\" for character in title):
        raise ValueError("may hold only plain ASCII letters, digits and signs, and no backslash")
    return title


def _check_ae_title_or_none(title: str) -> str:
    return _check_ae_title(title) if title else title


def _check_network(address: str) -> str:
    try:
        ip_network(address, strict=False)
    except ValueError:
        raise ValueError(
            f"has '{address}', which is not an IP address or network "
            "such as 10.1.2.3 or 10.1.2.0/24"
        ) from None
    return address


def _check_host_or_none(host: str) -> str:
    return _check_host(host) if host else host


def _check_host(host: str) -> str:
    if not host or re.search(r"[\s/\\]", host):
        raise ValueError("must be a host name or an IP address, without port or scheme")
    return host


def _check_uid_root(root: str) -> str:
    """PS3.5 9.1: components of digits, no leading zeros; the first is 0, 1 or 2."""
    if not root:
        return root
    if not re.fullmatch(r"[012](\.(0|[1-9][0-9]*))+", root):
        raise ValueError("must be digits and dots, such as 1.2.826.0.1.3680043.10.999")
    if len(root) > _UID_ROOT_MAX:
        raise ValueError(f"has {len(root)} characters; {_UID_ROOT_MAX} is the most")
    return root


def _check_uid(uid: str) -> str:
    """PS3.5 9.1."""
    if len(uid) > _UID_MAX or not re.fullmatch(r"[012](\.(0|[1-9][0-9]*))+", uid):
        raise ValueError(
            f"has '{uid}', which is not a UID: digits and dots, {_UID_MAX} characters at the most"
        )
    return uid


def _check_fingerprint(text: str) -> str:
    """Any usual way of writing SHA-256 of the certificate becomes 64 small hex digits."""
    digits = text.replace(":", "").lower()
    if text and not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise ValueError(
            "must be the SHA-256 fingerprint of a certificate: 64 hex digits, with or without "
            "colons (openssl x509 -in FILE -noout -fingerprint -sha256)"
        )
    return digits


def _check_passcode_hash(text: str) -> str:
    if text:
        try:
            PasscodeHash.parse(text)
        except ValueError as error:
            # Not quoted: what stands there may be the passcode itself.
            raise ValueError(f"{error}; 'secondread peer edit' makes one") from None
    return text


def _check_username(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("may hold only printable characters, and no space at its ends")
    return text


def _check_device(device: str) -> str:
    if not re.fullmatch(r"cpu|cuda(:[0-9]+)?", device):
        raise ValueError("must be 'cpu', 'cuda' or 'cuda:0', 'cuda:1' …")
    return device


def _check_pattern(pattern: str) -> str:
    if trouble := check_pattern(pattern):
        raise ValueError(trouble)
    return pattern


def _check_not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def _check_model_id(name: str) -> str:
    """The id becomes a folder name, so it must not climb out of its parent."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise ValueError("may hold only letters, digits, '_', '-' and '.'")
    return name


def _check_model_id_or_none(name: str) -> str:
    return _check_model_id(name) if name else name


AeTitle = Annotated[str, AfterValidator(_check_ae_title)]
AeTitleOrNone = Annotated[str, AfterValidator(_check_ae_title_or_none)]
Network = Annotated[str, AfterValidator(_check_network)]
Host = Annotated[str, AfterValidator(_check_host)]
HostOrNone = Annotated[str, AfterValidator(_check_host_or_none)]
Name = Annotated[str, AfterValidator(_check_not_blank)]
PortOrNone = Annotated[int, Field(ge=0, le=65535)]
Uid = Annotated[str, AfterValidator(_check_uid)]
UidRoot = Annotated[str, AfterValidator(_check_uid_root)]
Fingerprint = Annotated[str, AfterValidator(_check_fingerprint)]
HashedPasscode = Annotated[str, AfterValidator(_check_passcode_hash)]
Username = Annotated[str, AfterValidator(_check_username)]
Device = Annotated[str, AfterValidator(_check_device)]
Pattern = Annotated[str, AfterValidator(_check_pattern)]
ModelId = Annotated[str, AfterValidator(_check_model_id)]
ModelIdOrNone = Annotated[str, AfterValidator(_check_model_id_or_none)]
