"""TLS files that are renewed while the node runs, and sessions that are not kept for long."""

from __future__ import annotations

import dataclasses
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from secondread.access.tls import ServerCertificates
from secondread.domain.network import TlsSettings
from secondread.errors import ConfigurationError
from tests.certificates import Certificates, Pair, fingerprint, make_certificates
from tests.tls_calls import TIMEOUT_S, TLS, TlsServer, call, meet, sha256, weak_context


class Time:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Renewal:
    """Files in use that a test may replace, and what was told about them."""

    certificates: Certificates
    settings: TlsSettings
    time: Time
    watched: ServerCertificates
    server: TlsServer
    troubles: list[str]
    renewals: list[str]

    def put(self, pair: Pair, *names: str) -> None:
        """Replace the node's certificate, its key or both, as an administrator would: by rename."""
        for name in names or ("certificate", "key"):
            target = getattr(self.settings, name)
            fresh = target.with_suffix(".fresh")
            shutil.copy(getattr(pair, name), fresh)
            fresh.replace(target)


@pytest.fixture
def renewal(tmp_path: Path) -> Iterator[Renewal]:
    certificates = make_certificates(tmp_path / "issued", "ec")
    used = tmp_path / "used"
    used.mkdir()
    given = certificates.settings()
    settings = dataclasses.replace(
        given, certificate=used / "node.pem", key=used / "node.key", ca=used / "ca.pem"
    )
    for name in ("certificate", "key", "ca"):
        shutil.copy(getattr(given, name), getattr(settings, name))
    time, troubles, renewals = Time(), [], []
    watched = ServerCertificates(
        settings, on_trouble=troubles.append, on_renewal=renewals.append, clock_monotonic=time
    )
    server = TlsServer(watched.current)
    yield Renewal(certificates, settings, time, watched, server, troubles, renewals)
    server.close()


def test_a_new_certificate_is_used_without_a_restart(renewal: Renewal) -> None:
    server = renewal.server
    context = weak_context(renewal.certificates, renewal.certificates.client)
    before = sha256(call(context, server.port))
    new = renewal.certificates.issue("renewed")
    renewal.put(new)
    assert sha256(call(context, server.port)) == before  # a second has not passed
    renewal.time.now += 1.1
    assert sha256(call(context, server.port)) == fingerprint(new.certificate) != before
    assert len(renewal.renewals) == 1
    assert renewal.watched.trouble == "" and renewal.troubles == []


def test_an_open_connection_outlives_a_renewal(renewal: Renewal) -> None:
    server = renewal.server
    context = weak_context(renewal.certificates, renewal.certificates.client)
    with (
        socket.create_connection(("127.0.0.1", server.port), TIMEOUT_S) as plain,
        context.wrap_socket(plain) as secure,
    ):
        renewal.put(renewal.certificates.issue("renewed"))
        renewal.time.now += 1.1
        renewal.watched.current()
        secure.sendall(b"hello!")
        assert secure.recv(1) == b"!"


def test_a_withdrawn_ca_keeps_its_clients_out(renewal: Renewal) -> None:
    server = renewal.server
    context = weak_context(renewal.certificates, renewal.certificates.client)
    assert meet(server, context).failure == ""
    shutil.copy(renewal.certificates.other_ca.certificate, renewal.settings.ca)
    renewal.time.now += 1.1
    assert "not in the CA file" in meet(server, context).failure


def test_broken_files_leave_the_old_ones_in_use_and_are_told_once(renewal: Renewal) -> None:
    used = renewal.watched.current()
    new = renewal.certificates.issue("renewed")
    renewal.put(new, "certificate")
    for _ in range(3):
        renewal.time.now += 1.1
        assert renewal.watched.current() is used
    assert len(renewal.troubles) == 1
    assert renewal.watched.trouble == renewal.troubles[0]
    assert "does not belong to the certificate" in renewal.watched.trouble
    assert "goes on with the certificates that it has read before" in renewal.watched.trouble
    renewal.put(new, "key")
    renewal.time.now += 1.1
    assert renewal.watched.current() is not used
    assert renewal.watched.trouble == ""
    assert len(renewal.renewals) == 1


def test_a_file_that_goes_and_comes_back(renewal: Renewal) -> None:
    used = renewal.watched.current()
    away = renewal.settings.ca.with_suffix(".away")
    renewal.settings.ca.rename(away)
    renewal.time.now += 1.1
    assert renewal.watched.current() is used
    assert "is not there" in renewal.watched.trouble
    away.rename(renewal.settings.ca)
    renewal.time.now += 1.1
    renewal.watched.current()
    assert renewal.watched.trouble == ""


def test_files_that_never_worked_are_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not there"):
        ServerCertificates(TlsSettings(0, tmp_path / "a", tmp_path / "b", tmp_path / "c"))


def test_unchanged_files_are_not_read_again(renewal: Renewal) -> None:
    used = renewal.watched.current()
    renewal.time.now += 1e6
    assert renewal.watched.current() is used


def test_sessions_of_tls_1_2_are_not_remembered_for_long(renewal: Renewal) -> None:
    server = renewal.server
    context = weak_context(
        renewal.certificates, renewal.certificates.client, maximum_version=TLS.TLSv1_2
    )
    used = renewal.watched.current()
    for _ in range(260):
        call(context, server.port)
        server.met.get(timeout=TIMEOUT_S)
    assert used.session_stats()["number"] == 260
    renewal.time.now += 1.1
    assert renewal.watched.current().session_stats()["number"] == 0
    assert renewal.renewals == []


def test_one_session_of_tls_1_2_is_forgotten_after_five_minutes(renewal: Renewal) -> None:
    server = renewal.server
    context = weak_context(
        renewal.certificates, renewal.certificates.client, maximum_version=TLS.TLSv1_2
    )
    used = renewal.watched.current()
    meet(server, context)
    renewal.time.now += 250
    assert renewal.watched.current() is used
    renewal.time.now += 60
    assert renewal.watched.current() is not used
