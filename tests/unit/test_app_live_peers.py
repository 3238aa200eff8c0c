"""Peers that change in the file apply where they are held."""

from __future__ import annotations

from pathlib import Path

from secondread.app.live_peers import LivePeers
from secondread.config.load import load
from secondread.config.settings import Settings

PEER = '[[peers]]\nname = "{name}"\nae_title = "{name}"\naddresses = ["10.1.1.1"]\n'
WAITS = "[peers.complete]\nwait_max_s = 60\n"


def test_peers_and_what_is_waited_for_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "secondread.toml"
    path.write_text(PEER.format(name="ct1") + PEER.format(name="mr1"))
    peers = LivePeers(load(path, {}))
    held = peers.by_name
    assert set(held) == {"ct1", "mr1"}
    assert peers.check() is False
    path.write_text(PEER.format(name="ct1") + WAITS + PEER.format(name="us1"))
    assert [peers.check(), peers.check(), peers.check()] == [False, True, False]
    assert set(held) == {"ct1", "us1"}
    assert held["ct1"].complete is not None
    assert held["ct1"].complete.wait_max_s == 60


def test_a_file_with_a_fault_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "secondread.toml"
    path.write_text(PEER.format(name="ct1"))
    peers = LivePeers(load(path, {}))
    path.write_text("[[peers]]\n")
    assert not any(peers.check() for _ in range(4))
    assert set(peers.by_name) == {"ct1"}


def test_settings_without_a_file_stay_as_they_are() -> None:
    assert LivePeers(Settings()).check() is False
