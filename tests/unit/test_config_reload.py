"""A configuration that changes while the node runs."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from secondread.config.load import load
from secondread.config.reload import LIVE, PLACES, Change, Watch
from secondread.config.settings import Settings

PEER = '\n[[peers]]\nname = "{0}"\nae_title = "{0}"\naddresses = ["10.0.0.1"]\n'
BASE = "[node]\nae_title = 'NODE'\n" + PEER.format("ct") + PEER.format("mr")


class File:
    """A configuration file and its watch."""

    def __init__(self, path: Path, environment: dict[str, str] | None = None) -> None:
        self.path = path
        self.write(BASE)
        self.settings = load(path, environment or {})
        self.watch = Watch(path, self.settings, environment or {})

    def write(self, text: str) -> None:
        """As an editor does that writes into the file."""
        before = self.path.stat().st_mtime_ns if self.path.exists() else 0
        self.path.write_text(text, encoding="utf-8")
        # Two writes within one tick of the file system's clock would look the same.
        os.utime(self.path, ns=(before + 10**9, before + 10**9))

    def swap(self, text: str) -> None:
        """As a careful program does: a draft that takes the file's place."""
        draft = self.path.with_name("draft")
        draft.write_text(text, encoding="utf-8")
        draft.replace(self.path)

    def settled(self) -> Change | None:
        """The first change within a few checks."""
        for _ in range(3):
            if (change := self.watch.check()) is not None:
                return change
        return None


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "secondread.toml")


def test_an_untouched_file_is_no_change(file: File) -> None:
    assert file.settled() is None


def test_what_changed_before_the_watch_began_is_seen(tmp_path: Path) -> None:
    file = File(tmp_path / "secondread.toml")
    file.write(BASE + PEER.format("us"))
    watch = Watch(file.path, file.settings, {})
    change = watch.check()
    assert change is not None
    assert change.added == ("us",)


def test_an_untouched_file_is_read_once(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    assert file.settled() is None
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: pytest.fail("the file was read"))
    assert file.settled() is None


def test_peers_apply_live_and_are_told_by_name(file: File) -> None:
    text = BASE.replace(PEER.format("ct"), PEER.format("us")).replace(
        'name = "mr"', 'name = "mr"\nquiet_s = 5'
    )
    file.swap(text)
    change = file.settled()
    assert change is not None
    assert change.fault == ""
    assert (change.added, change.removed, change.altered) == (("us",), ("ct",), ("mr",))
    assert (change.changed, change.live, change.restart) == (("peers",), ("peers",), ())
    assert {peer.name for peer in change.settings.peers} == {"us", "mr"}
    assert change.sentence == (
        "New in [[peers]]: us. Removed in [[peers]]: ct. Changed in [[peers]]: mr."
    )
    assert file.settled() is None


def test_other_fields_wait_for_a_restart_until_they_are_taken_back(file: File) -> None:
    file.write(BASE + "[dicom]\nport = 4242\nmax_object_mib = 7\n")
    change = file.settled()
    assert change is not None
    assert change.live == ()
    assert change.changed == change.restart == ("port", "max_object_bytes")
    assert "Restart the node for: port in [dicom], max_object_mib in [dicom]." in change.sentence
    file.write(BASE.replace('"mr"', '"mx"') + "[dicom]\nport = 4242\n")
    change = file.settled()
    assert change is not None
    assert change.changed == ("max_object_bytes", "peers")
    assert change.restart == ("port",), "what was changed before still waits"
    file.write(BASE)
    change = file.settled()
    assert change is not None
    assert change.restart == ()
    assert change.added == ("mr",)


def test_a_comment_is_no_change(file: File) -> None:
    file.write(BASE + "# nothing\n")
    assert file.settled() is None


def test_a_faulty_file_changes_nothing_and_is_told_once(file: File) -> None:
    file.write(BASE.replace("ae_title = 'NODE'", "ae_titel = 'NODE'"))
    change = file.settled()
    assert change is not None
    assert change.settings == file.settings
    assert "did you mean 'ae_title'" in change.fault
    assert change.sentence.startswith("The configuration was changed but is not used: ")
    assert (change.changed, change.live, change.restart, change.added) == ((), (), (), ())
    assert file.settled() is None
    file.write("[node\n")
    change = file.settled()
    assert change is not None
    assert "not valid TOML" in change.fault
    file.write(BASE)
    change = file.settled()
    assert change is not None
    assert change.fault == ""
    assert change.changed == ()
    assert change.sentence == "The configuration is as it was."


def test_a_file_that_is_just_being_written_is_left_alone(file: File) -> None:
    """An empty file is valid and has no peers; taking it would shut everybody out."""
    file.write("")
    assert file.watch.check() is None
    file.write(BASE[:40])
    assert file.watch.check() is None
    file.write(BASE + PEER.format("us"))
    assert file.watch.check() is None
    change = file.watch.check()
    assert change is not None
    assert change.added == ("us",)


def test_a_file_that_is_replaced_again_while_it_is_read_is_read_again(
    file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_text = Path.read_text
    file.swap(BASE + PEER.format("us"))

    def read_then_replace(path: Path, *args: object, **keywords: object) -> str:
        text = read_text(path, encoding="utf-8")
        file.swap(BASE + PEER.format("nm"))
        return text

    assert file.watch.check() is None
    with monkeypatch.context() as during:
        during.setattr(Path, "read_text", read_then_replace)
        assert file.watch.check() is None
    change = file.settled()
    assert change is not None
    assert change.added == ("nm",)


def test_a_swapped_file_of_the_same_size_and_time_is_seen(file: File) -> None:
    found = file.path.stat()
    file.swap(BASE.replace('"mr"', '"mx"'))
    os.utime(file.path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert file.path.stat().st_size == found.st_size
    change = file.settled()
    assert change is not None
    assert (change.added, change.removed) == (("mx",), ("mr",))


def test_a_file_that_vanishes_changes_nothing_and_may_come_back(file: File) -> None:
    file.path.unlink()
    change = file.settled()
    assert change is not None
    assert "is gone" in change.fault
    assert change.settings == file.settings
    assert file.settled() is None
    file.write(BASE + PEER.format("us"))
    change = file.settled()
    assert change is not None
    assert change.fault == ""
    assert change.added == ("us",)


def test_a_fault_that_lies_outside_the_file_is_noticed_when_it_is_gone(
    file: File, tmp_path: Path
) -> None:
    file.write(
        BASE + '\n[[models]]\nid = "own"\npath = "models/own"\n'
        "[tls]\nport = 2762\ncertificate = 'c.pem'\nkey = 'k.pem'\nca = 'a.pem'\n"
    )
    change = file.settled()
    assert change is not None
    assert "'certificate' in [tls] is" in change.fault
    assert file.settled() is None
    (tmp_path / "c.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    change = file.settled()
    assert change is not None
    assert "'certificate'" not in change.fault
    assert "'key' in [tls] is" in change.fault
    (tmp_path / "k.pem").write_text("-----BEGIN PRIVATE KEY-----\n")
    (tmp_path / "a.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    change = file.settled()
    assert change is not None
    assert change.fault == ""
    assert change.restart == ("tls", "models")
    assert file.settled() is None


def test_the_environment_still_overrides(tmp_path: Path) -> None:
    file = File(tmp_path / "secondread.toml", {"SECONDREAD_DICOM__PORT": "4242"})
    file.write(BASE + "[dicom]\nport = 1\nhost = '127.0.0.1'\n")
    change = file.settled()
    assert change is not None
    assert change.restart == ("host",)
    assert change.settings.port == 4242


def test_every_field_has_a_place_in_the_file() -> None:
    names = {field.name for field in dataclasses.fields(Settings)} - {"path"}
    assert set(PLACES) == names
    assert names >= LIVE
