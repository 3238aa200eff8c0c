"""The doctor's probes, each with something well and something ill."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from secondread.cli.doctor import examine
from secondread.cli.main import execute
from secondread.cli.probes import clock, disk, models, port, tls
from secondread.cli.probes.finding import Finding, Health
from secondread.config.settings import GIB, Settings
from secondread.domain.network import ModelReference, Peer, TlsSettings
from secondread.errors import EXIT_FAILED, EXIT_OK
from tests.certificates import Certificates


def by_subject(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in findings}


def test_a_good_data_folder(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    found = by_subject(list(disk.probe_disk(Settings(data_dir=folder, minimum_free_bytes=1))))
    assert set(found) == {"permissions", "file system", "space", "durable writes"}
    assert all(finding.health is Health.OK for finding in found.values())
    assert list(folder.iterdir()) == []


def test_a_data_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    found = by_subject(list(disk.probe_disk(Settings(data_dir=tmp_path / "a" / "b"))))
    assert found["data folder"].health is Health.OK
    assert not (tmp_path / "a").exists()


def test_others_can_look(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    finding = disk.probe_privacy(tmp_path)
    assert finding.health is Health.WARN
    assert finding.remedy == f"chmod 700 '{tmp_path}'"


def test_a_data_folder_that_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    (finding,) = disk.probe_disk(Settings(data_dir=path))
    assert finding.health is Health.FAIL


def test_a_network_file_system_is_not_safe(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"none / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\n")
    assert disk.probe_file_system(tmp_path, mounts).health is Health.FAIL
    mounts.write_text(f"server:/ / nfs4 rw 0 0\nnone {tmp_path} ext4 rw 0 0\n")
    assert disk.probe_file_system(tmp_path, mounts).health is Health.OK
    assert disk.probe_file_system(tmp_path, tmp_path / "absent").health is Health.OK


def test_space(tmp_path: Path) -> None:
    assert disk.probe_space(tmp_path, 0).health is Health.OK
    assert disk.probe_space(tmp_path, 10**9 * GIB).health is Health.FAIL


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    finding = disk.probe_sync(tmp_path / "absent")
    assert finding.health is Health.FAIL
    assert finding.remedy


def test_a_clock_that_went_back(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    ledger = tmp_path / "ledger.sqlite"
    ledger.write_text("")
    (finding,) = clock.probe_clock(settings)
    assert finding.health is not Health.FAIL
    future = time.time() + 7200
    os.utime(ledger, (future, future))
    (finding,) = clock.probe_clock(settings)
    assert finding.health is Health.FAIL
    assert "after that" in finding.sentence


def test_a_clock_of_another_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock.time, "time", lambda: 0.0)
    (finding,) = clock.probe_clock(Settings(data_dir=tmp_path))
    assert finding.health is Health.FAIL
    assert "1970-01-01" in finding.sentence


def test_a_free_port(free_port: Callable[[], int]) -> None:
    finding = port.probe_port(Settings(host="127.0.0.1", port=free_port()))
    assert finding.health is Health.OK
    assert "free" in finding.sentence


def test_a_port_of_another_program() -> None:
    code = (
        "import socket,sys; s=socket.create_server(('127.0.0.1',0));"
        "print(s.getsockname()[1], flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        number = int(other.stdout.readline())
        finding = port.probe_port(Settings(host="127.0.0.1", port=number))
        other.communicate()
    assert finding.health is Health.FAIL
    assert "another program" in finding.sentence


def test_a_port_of_the_node_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port, "find_listener", lambda _: "python -m secondread serve --role intake")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        finding = port.probe_port(Settings(host="127.0.0.1", port=taken.getsockname()[1]))
    assert finding.health is Health.OK


def test_an_address_of_another_machine() -> None:
    finding = port.probe_port(Settings(host="192.0.2.1", port=11112))
    assert finding.health is Health.FAIL
    assert "not an address of this machine" in finding.sentence


def test_models_and_device(tmp_path: Path) -> None:
    settings = Settings(models=(ModelReference("x", str(tmp_path), "RESEARCH"),), device="cuda:1")
    found = by_subject(list(models.probe_models(settings, tmp_path)))
    assert found["model x"].health is Health.FAIL
    assert found["device"].health is Health.FAIL
    (tmp_path / "nvidia1").write_text("")
    found = by_subject(list(models.probe_models(settings, tmp_path)))
    assert found["device"].health is Health.OK


def test_without_tls_there_is_nothing_to_say() -> None:
    assert list(tls.probe_tls(Settings())) == []


def test_good_tls_files(certificates: Certificates) -> None:
    (finding,) = tls.probe_tls(Settings(tls=certificates.settings(port=2762)))
    assert finding.health is Health.OK
    assert "'CN=server,O=Test Hospital' is good for 365 days" in finding.sentence


def test_a_certificate_that_ends_soon(certificates: Certificates) -> None:
    settings = Settings(tls=certificates.settings(port=2762, warn_days=30))
    found = list(tls.probe_tls(settings, time.time() + 340 * 86400))
    assert [finding.health for finding in found] == [Health.WARN, Health.WARN]
    assert "in 25 days" in found[0].sentence


@pytest.mark.parametrize("field", ["certificate", "key", "ca"])
def test_a_tls_file_that_is_not_there_is_told_once(
    field: str, certificates: Certificates, tmp_path: Path
) -> None:
    given = certificates.settings(port=2762)
    settings = Settings(tls=dataclasses.replace(given, **{field: tmp_path / "absent"}))
    (finding,) = tls.probe_tls(settings)
    assert finding.health is Health.FAIL
    assert "is not there" in finding.sentence and finding.remedy


def test_a_key_that_does_not_fit(certificates: Certificates) -> None:
    given = certificates.settings(port=2762)
    settings = Settings(tls=dataclasses.replace(given, key=certificates.client.key))
    (finding,) = tls.probe_tls(settings)
    assert finding.health is Health.FAIL
    assert "does not belong" in finding.sentence


def test_a_key_that_everybody_may_read(certificates: Certificates, tmp_path: Path) -> None:
    key = tmp_path / "a.key"
    key.write_bytes(certificates.server.key.read_bytes())
    key.chmod(0o644)
    settings = Settings(tls=dataclasses.replace(certificates.settings(port=2762), key=key))
    (finding,) = tls.probe_tls(settings)
    assert finding.health is Health.WARN
    assert finding.remedy == f"chmod 600 '{key}'"


def test_an_expired_certificate(certificates: Certificates) -> None:
    expired = certificates.expired_server
    own = TlsSettings(2762, expired.certificate, expired.key, certificates.ca.certificate)
    (finding,) = tls.probe_tls(Settings(tls=own))
    assert finding.health is Health.FAIL
    assert "expired on" in finding.sentence


def test_an_expired_ca_of_one_peer_is_a_warning(certificates: Certificates) -> None:
    ca = str(certificates.expired_client.certificate)
    peer = Peer("mr1", "MR1", ("10.0.0.1",), 60.0, certificate_ca=ca)
    (finding,) = tls.probe_tls(Settings(tls=certificates.settings(port=2762), peers=(peer,)))
    assert finding.health is Health.WARN
    assert "peer 'mr1'" in finding.sentence


def test_both_ports_are_tried(
    tmp_path: Path, certificates: Certificates, free_port: Callable[[], int]
) -> None:
    ports = (free_port(), free_port())
    for plain, secure in ((ports[0], ports[1]), (0, ports[1]), (ports[0], 0)):
        settings = Settings(
            data_dir=tmp_path,
            host="127.0.0.1",
            port=plain,
            tls=certificates.settings(port=secure),
        )
        found = [finding.sentence for finding in examine(settings) if finding.subject == "port"]
        assert found == [
            f"127.0.0.1:{number} is free for the node." for number in (plain, secure) if number
        ]


def test_the_whole_examination(
    tmp_path: Path, free_port: Callable[[], int], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "secondread.toml"
    path.write_text(
        f'[node]\ndata_dir = "data"\nminimum_free_gib = 0\n'
        f'[dicom]\nhost = "127.0.0.1"\nport = {free_port()}\n'
    )
    assert execute(["doctor", "-c", str(path)]) == EXIT_OK
    out = capsys.readouterr().out
    assert "→ Add your PACS to [[destinations]]." in out
    assert "0 fail." in out
    with path.open("a") as file:
        file.write(
            f'[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\n'
            f"port = {free_port()}\n"
        )
    assert execute(["doctor", "-c", str(path), "--json"]) == EXIT_FAILED
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    (ill,) = [finding for finding in told["findings"] if finding["health"] == "fail"]
    assert ill["subject"] == "destination pacs"
    assert "nobody listens" in ill["sentence"]
    assert all(finding["remedy"] for finding in told["findings"] if finding["health"] != "ok")
