"""``send`` and ``peer`` against a real SCP on the loopback interface."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import MRImageStorage
from pynetdicom import AE, evt

from secondread.access.passcodes import hash_passcode
from secondread.cli.main import execute
from secondread.cli.peer_call import Wishes, call_of, find_callable
from secondread.cli.send import Target, find_dicom_files, parse_target
from secondread.config.settings import Settings
from secondread.domain.destination import Destination
from secondread.domain.network import USUAL_SERVICES, Peer, Service, TlsSettings
from secondread.errors import (
    EXIT_FAILED,
    EXIT_NO_INPUT,
    EXIT_OK,
    EXIT_TEMPORARY,
    EXIT_UNAVAILABLE,
    NotFoundError,
    UsageError,
)

VERIFICATION = "1.2.840.10008.1.1"


@dataclass
class Server:
    """A storage SCP that answers what it is told to, by instance number."""

    port: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    received: list[tuple[str, int]] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    told = Server()

    def store(event: Any) -> int:
        number = int(event.dataset.InstanceNumber)
        told.received.append((event.assoc.requestor.ae_title, number))
        return told.statuses.get(number, 0)

    entity = AE("PACS")
    entity.require_called_aet = True
    entity.add_supported_context(MRImageStorage)
    entity.add_supported_context(VERIFICATION)
    running: Any = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)]
    )
    told.port = running.server_address[1]
    yield told
    running.shutdown()
    entity.shutdown()


@pytest.fixture
def files(head_series: Callable[..., Any]) -> Path:
    folder: Path = head_series(size=(5, 8, 8)).folder
    (folder / "notes.txt").write_text("not DICOM")
    (folder / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    return folder


def test_all_objects_arrive(
    files: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    to = f"PACS@127.0.0.1:{server.port}"
    assert execute(["send", str(files), "--to", to, "--calling", "MR1"]) == EXIT_OK
    captured = capsys.readouterr()
    assert "5 of 5 objects stored" in captured.out
    assert "2 files that are not DICOM objects were left out" in captured.out
    assert "5/5" in captured.err
    assert sorted(server.received) == [("MR1", number) for number in range(1, 6)]


def test_each_kind_of_refusal_is_one_line_in_words(
    files: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.statuses = {1: 0xA700, 2: 0xA700, 3: 0xC000, 4: 0xB000}
    to = f"PACS@127.0.0.1:{server.port}"
    assert execute(["send", str(files), "--to", to]) == EXIT_FAILED
    captured = capsys.readouterr()
    assert "2 of 5 objects stored" in captured.out
    assert "2 refused with 0xA700: the peer is out of resources (" in captured.err
    assert "1 refused with 0xC000: the peer cannot understand the data set (" in captured.err
    assert execute(["send", str(files), "--to", to, "--json"]) == EXIT_FAILED
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert (told["ok"], told["stored"], told["not_sent"]) == (False, 2, 0)
    assert {entry["status"] for entry in told["refused"]} == {"0xA700", "0xC000"}


def test_a_wrong_called_title_is_told(
    files: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    to = f"OTHER@127.0.0.1:{server.port}"
    assert execute(["send", str(files), "--to", to]) == EXIT_UNAVAILABLE
    captured = capsys.readouterr()
    assert "is not the called AE title" in captured.err
    assert "5 objects were not sent." in captured.err
    assert server.received == []


def test_nobody_listens(
    files: Path, free_port: Callable[[], int], capsys: pytest.CaptureFixture[str]
) -> None:
    to = f"PACS@127.0.0.1:{free_port()}"
    assert execute(["send", str(files), "--to", to, "--json"]) == EXIT_TEMPORARY
    told = json.loads(capsys.readouterr().out)
    assert told["not_sent"] == 5
    assert "nobody listens" in told["error"]


def test_a_folder_without_dicom(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("")
    assert execute(["send", str(tmp_path), "--to", "A@h:1"]) == EXIT_NO_INPUT
    assert "(1 other files)" in capsys.readouterr().err
    assert execute(["send", str(tmp_path / "absent"), "--to", "A@h:1"]) == EXIT_NO_INPUT


def test_files_are_found_in_the_order_of_people(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        (tmp_path / f"im{number}").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "bare").write_bytes(b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100")
    (tmp_path / "short").write_bytes(b"DI")
    found, others = find_dicom_files(tmp_path)
    assert [path.name for path in found] == ["im1", "im9", "im10", "bare"]
    assert others == 1
    assert find_dicom_files(tmp_path / "im9") == ((tmp_path / "im9",), 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PACS@10.1.2.3:104", Target("PACS", "10.1.2.3", 104)),
        ("A TITLE@host.local:11112", Target("A TITLE", "host.local", 11112)),
        ("PACS@[::1]:104", Target("PACS", "::1", 104)),
    ],
)
def test_targets(text: str, expected: Target) -> None:
    assert parse_target(text) == expected


@pytest.mark.parametrize(
    "text", ["PACS", "PACS@host", "@host:1", "PACS@host:0", "PACS@host:99999", "P@::1:104", "x@:1"]
)
def test_targets_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="AE@HOST:PORT"):
        parse_target(text)


def configuration(folder: Path, port: int, title: str = "PACS") -> Path:
    path = folder / "secondread.toml"
    path.write_text(
        f'[[peers]]\nname = "mr1"\nae_title = "MR1"\naddresses = ["10.1.2.3"]\n'
        f'[[destinations]]\nname = "pacs"\nae_title = "{title}"\nhost = "127.0.0.1"\n'
        f"port = {port}\ntimeout_s = 5\n"
    )
    return path


def test_peer_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = configuration(tmp_path, 104)
    with file.open("a") as more:
        more.write(
            '[[peers]]\nname = "ct1"\nae_title = "CT1"\naddresses = ["::1"]\n'
            'may = ["store", "echo"]\nusername = "bob"\n'
            f'passcode_hash = "{hash_passcode("secret")}"\n'
        )
    path = str(file)
    assert execute(["peer", "list", "-c", path]) == EXIT_OK
    out = capsys.readouterr().out
    assert "10.1.2.3" in out
    assert "127.0.0.1:104" in out
    assert "complete after 30 s, may echo and store only, passcode" in out
    assert execute(["peer", "list", "-c", path, "--json"]) == EXIT_OK
    text = capsys.readouterr().out
    listed = json.loads(text)
    assert listed["peers"][0]["quiet_s"] == 30.0
    assert listed["peers"][0]["may"] == [
        str(service) for service in Service if service in USUAL_SERVICES
    ]
    assert listed["peers"][1]["may"] == ["echo", "store"]
    assert listed["peers"][1]["has_passcode"] is True
    assert "scrypt" not in text
    assert listed["destinations"][0]["calling_ae_title"] == "SECONDREAD"


def test_peer_echo(tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(configuration(tmp_path, server.port))
    assert execute(["peer", "echo", "pacs", "-c", path]) == EXIT_OK
    assert "answered" in capsys.readouterr().out
    path = str(configuration(tmp_path, server.port, "OTHER"))
    assert execute(["peer", "echo", "pacs", "-c", path, "--json"]) == EXIT_UNAVAILABLE
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert "called AE title" in told["sentence"]


def test_who_can_be_called() -> None:
    pacs = Destination(
        name="pacs",
        ae_title="PACS",
        host="h",
        port=104,
        calling_ae_title="SECONDREAD",
        timeout_s=30.0,
        attempts_max=20,
    )
    router = Peer("router", "PACS", ("10.1.2.3",), 30.0)
    scanner = Peer("mr1", "MR1", ("10.1.2.4",), 30.0)
    settings = Settings(peers=(router, scanner), destinations=(pacs,))
    assert find_callable(settings, "pacs") is pacs
    assert find_callable(settings, "router") is pacs
    with pytest.raises(NotFoundError, match="only calls this node"):
        find_callable(settings, "mr1")
    with pytest.raises(NotFoundError, match="pacs, router, mr1"):
        find_callable(settings, "nobody")


def test_a_peer_with_a_port_is_called_itself() -> None:
    at = Peer("mr1", "MR1", ("10.1.2.4/32",), 30.0, port=104)
    settings = Settings(peers=(at,))
    called = call_of(settings, "mr1", Wishes())
    assert (called.address.host, called.address.port) == ("10.1.2.4", 104)
    assert (called.address.called, called.address.calling) == ("MR1", "SECONDREAD")
    assert called.tls is None
    wide = Peer("mr2", "MR2", ("10.1.2.0/24",), 30.0, port=104)
    with pytest.raises(NotFoundError, match="--host HOST"):
        call_of(Settings(peers=(wide,)), "mr2", Wishes())


def test_which_files_a_call_with_tls_takes() -> None:
    files = TlsSettings(2762, Path("/c.pem"), Path("/k.pem"), Path("/ca.pem"))
    peer = Peer("mr1", "MR1", ("::1",), 30.0, port=1, tls=True, certificate_ca="/mr.pem")
    settings = Settings(peers=(peer,), tls=files)
    assert call_of(settings, "mr1", Wishes()).tls == files
    assert call_of(settings, "mr1", Wishes()).ca == Path("/mr.pem")
    assert call_of(settings, "mr1", Wishes(tls=False)).tls is None
    other = call_of(settings, "mr1", Wishes(ca=Path("/x.pem")))
    assert other.ca is None
    assert other.tls is not None
    assert other.tls.ca == Path("/x.pem")
    with pytest.raises(UsageError, match="--certificate and --key together"):
        call_of(settings, "mr1", Wishes(key=Path("/k")))
    with pytest.raises(UsageError, match="--ca"):
        call_of(Settings(), "PACS@h:1", Wishes(tls=True))
    with pytest.raises(UsageError, match="AE@HOST:PORT"):
        call_of(Settings(), "PACS@h", Wishes())


@pytest.mark.parametrize("title", ["A" * 17, "A\\B", "Ä", "", " A"])
def test_titles_that_are_none(title: str) -> None:
    with pytest.raises(UsageError, match=f"--calling is '{re.escape(title)}', which "):
        call_of(Settings(), "PACS@h:1", Wishes(calling=title))
    if 0 < len(title) < 17:
        with pytest.raises(UsageError, match="The AE title to call is"):
            call_of(Settings(), f"{title}@h:1", Wishes())
