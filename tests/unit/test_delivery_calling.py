"""From a configured destination to a call."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from secondread.delivery.address import Address
from secondread.delivery.association import Identity
from secondread.delivery.calling import address_of, identity_of, security_of
from secondread.domain.destination import CallSecurity, Destination, UserIdentity
from secondread.errors import PeerRefusedError, PeerUnreachableError
from tests.certificates import Certificates

PLAIN = Destination(
    name="pacs",
    ae_title="PACS",
    host="10.1.2.10",
    port=104,
    calling_ae_title="SECONDREAD",
    timeout_s=7.0,
)


def test_address_is_the_destination_s() -> None:
    assert address_of(PLAIN) == Address("10.1.2.10", 104, "PACS", "SECONDREAD", 7.0)
    assert security_of(PLAIN) is None
    assert identity_of(PLAIN) is None


@pytest.mark.parametrize("missing", [{"host": ""}, {"port": 0}])
def test_without_host_or_port_nobody_can_be_called(missing: dict) -> None:
    with pytest.raises(PeerRefusedError, match="enter 'host' and 'port' for it"):
        address_of(replace(PLAIN, **missing))


def test_tls_checks_name_and_ca_and_shows_a_certificate(certificates: Certificates) -> None:
    ca, own = certificates.ca.certificate, certificates.client
    found = security_of(replace(PLAIN, security=CallSecurity(ca, own.certificate, own.key)))
    assert found is not None
    assert (found.has_certificate, found.context.check_hostname) == (True, True)
    pinned = CallSecurity(ca, certificate_sha256="ab" * 32, checks_host=False)
    found = security_of(replace(PLAIN, security=pinned))
    assert found is not None
    assert (found.has_certificate, found.context.check_hostname) == (False, False)
    assert found.certificate_sha256 == "ab" * 32


def test_files_that_are_missing_are_tried_again(certificates: Certificates, tmp_path: Path) -> None:
    """Put right, delivery goes on by itself."""
    ca = tmp_path / "ca.pem"
    place = replace(PLAIN, security=CallSecurity(ca))
    with pytest.raises(PeerUnreachableError, match="TLS of destination 'pacs'"):
        security_of(place)
    ca.write_bytes(certificates.ca.certificate.read_bytes())
    assert security_of(place) is not None


def test_passcode_is_read_for_each_call(tmp_path: Path) -> None:
    file = tmp_path / "passcode"
    place = replace(PLAIN, identity=UserIdentity("node", file))
    with pytest.raises(PeerUnreachableError, match="passcode of destination 'pacs'.*cannot be"):
        identity_of(place)
    file.write_text("first\n")
    assert identity_of(place) == Identity("node", "first")
    file.write_text("second")
    assert identity_of(place) == Identity("node", "second")
    assert identity_of(replace(PLAIN, identity=UserIdentity("node"))) == Identity("node")


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines", b"\xff\xfe", b"x" * 2000])
def test_what_is_no_passcode_is_not_sent(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "passcode"
    file.write_bytes(content)
    with pytest.raises(PeerUnreachableError, match="in one line") as raised:
        identity_of(replace(PLAIN, identity=UserIdentity("node", file)))
    assert "two" not in str(raised.value)
