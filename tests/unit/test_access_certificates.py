"""What certificate files say, and when a person is told to renew them."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import pytest

from secondread.access.certificates import (
    days_left,
    expiring,
    find_troubles,
    read_certificates,
    remark_on_key,
)
from secondread.config.settings import Settings
from secondread.domain.network import Peer, TlsSettings
from secondread.errors import ConfigurationError
from tests.certificates import Certificates, fingerprint, issue

DAY_S = 86400.0
WHERE = "'certificate' in [tls]"


def settings_of(certificates: Certificates, peer_ca: str = "", **tls: Path) -> Settings:
    peer = Peer("mr1", "MR1", ("10.0.0.1",), 60.0, certificate_ca=peer_ca)
    return Settings(tls=dataclasses.replace(certificates.settings(), **tls), peers=(peer,))


def test_a_certificate_is_read(certificates: Certificates) -> None:
    path = certificates.client.certificate
    (certificate,) = read_certificates(path, WHERE)
    assert certificate.subject == "CN=client,O=Test Hospital"
    assert certificate.issuer == "CN=ca,O=Test Hospital"
    assert certificate.sha256 == fingerprint(path)
    now = time.time()
    assert certificate.not_before < now < certificate.not_after
    assert 364 < certificate.days_left(now) < 365
    assert certificate.days_left(certificate.not_after + DAY_S) == -1


def test_a_chain_is_read_in_its_order(certificates: Certificates, tmp_path: Path) -> None:
    path = tmp_path / "chain.pem"
    files = (certificates.server.certificate, certificates.ca.certificate)
    path.write_bytes(b"".join(file.read_bytes() for file in files))
    assert [c.sha256 for c in read_certificates(path, WHERE)] == list(map(fingerprint, files))


@pytest.mark.parametrize("content", [b"", b"text", b"\xff\0" * 99, b"-----BEGIN CERTIFICATE-----"])
def test_a_file_without_a_certificate(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.pem"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="holds no PEM certificate") as refused:
        read_certificates(path, WHERE)
    assert str(path) in str(refused.value) and WHERE in str(refused.value)


def test_a_certificate_that_is_cut_off(certificates: Certificates, tmp_path: Path) -> None:
    path = tmp_path / "a.pem"
    lines = certificates.server.certificate.read_text().splitlines()
    path.write_text("\n".join([*lines[:5], lines[-1]]))
    with pytest.raises(ConfigurationError, match="holds no PEM certificate"):
        read_certificates(path, WHERE)


def test_good_certificates_need_no_word(certificates: Certificates) -> None:
    settings = settings_of(certificates, str(certificates.other_ca.certificate))
    assert expiring(settings, time.time(), 30) == []


def test_without_tls_there_is_nothing_to_look_at() -> None:
    assert expiring(Settings(tls=TlsSettings()), time.time(), 30) == []
    assert days_left(Settings(tls=TlsSettings()), time.time()) == {}


def test_every_file_that_ends_soon_is_named(certificates: Certificates) -> None:
    settings = settings_of(certificates, str(certificates.other_ca.certificate))
    own, ca, peer = expiring(settings, time.time() + 335.5 * DAY_S, 30)
    assert "'CN=server,O=Test Hospital'" in own and "in 30 days" in own
    assert "peers refuse to talk TLS to the node" in own
    assert "'CN=ca,O=Test Hospital'" in ca and "'ca' in [tls]" in ca
    assert "'certificate_ca' of peer 'mr1'" in peer
    assert all("\n" not in sentence and sentence.endswith(".") for sentence in (own, ca, peer))
    assert not any(t.over for t in find_troubles(settings, time.time() + 335.5 * DAY_S, 30))


def test_the_warning_begins_with_warn_days(certificates: Certificates) -> None:
    settings = settings_of(certificates)
    assert expiring(settings, time.time() + 334 * DAY_S, 30) == []
    assert len(expiring(settings, time.time() + 334 * DAY_S, 60)) == 2


def test_an_expired_certificate_is_over(certificates: Certificates) -> None:
    settings = settings_of(certificates, certificate=certificates.expired_server.certificate)
    (trouble,) = find_troubles(settings, time.time(), 30)
    assert trouble.over
    assert "expired on 20" in trouble.sentence
    assert -1.1 < days_left(settings, time.time())["own"] < -0.9


def test_a_certificate_of_the_future_is_told(certificates: Certificates, tmp_path: Path) -> None:
    future = issue(tmp_path, "future", ca=certificates.ca, days=(5, 400))
    settings = settings_of(certificates, certificate=future.certificate)
    (trouble,) = find_troubles(settings, time.time(), 30)
    assert trouble.over
    assert "is valid only from 20" in trouble.sentence
    assert "clock" in trouble.remedy


def test_every_certificate_of_a_file_is_looked_at(
    certificates: Certificates, tmp_path: Path
) -> None:
    path = tmp_path / "cas.pem"
    files = (certificates.ca.certificate, certificates.expired_client.certificate)
    path.write_bytes(b"".join(file.read_bytes() for file in files))
    (sentence,) = expiring(settings_of(certificates, ca=path), time.time(), 30)
    assert "CN=expired-client" in sentence


def test_a_file_that_is_gone_is_told_too(certificates: Certificates, tmp_path: Path) -> None:
    settings = settings_of(certificates, str(tmp_path / "absent.pem"))
    (trouble,) = find_troubles(settings, time.time(), 30)
    assert trouble.over
    assert "is not there" in trouble.sentence and "peer 'mr1'" in trouble.sentence
    assert days_left(settings, time.time())["peer"] == 0.0


def test_days_left_of_each_use(certificates: Certificates) -> None:
    settings = settings_of(certificates, str(certificates.expired_client.certificate))
    left = days_left(settings, time.time())
    assert left.keys() == {"own", "ca", "peer"}
    assert 364 < left["own"] < 365
    assert left["peer"] < 0


def test_a_key_that_everybody_may_read_is_remarked_on(tmp_path: Path) -> None:
    key = tmp_path / "a.key"
    key.write_text("")
    key.chmod(0o640)
    assert remark_on_key(key) == ""
    key.chmod(0o644)
    assert "Every user of this machine" in remark_on_key(key)
    assert remark_on_key(tmp_path / "absent") == ""
