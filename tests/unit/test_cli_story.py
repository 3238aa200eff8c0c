"""``study show`` tells what the senders said and asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from secondread.cli.main import execute
from secondread.domain.commitment import Commitment, CommitmentState, Reference, Result
from secondread.domain.notice import Notice, NoticeKind
from secondread.errors import EXIT_OK
from tests.service_cases import STUDY, Place, open_place


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A node that holds two objects of a study, about which its scanner said and asked things."""
    (tmp_path / "secondread.toml").write_text('[node]\ndata_dir = "data"\n')
    monkeypatch.delenv("SECONDREAD_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    found = open_place(tmp_path / "data")
    found.store(["1.1", "1.2"])
    at = found.clock.at
    step = Notice(NoticeKind.MPPS, "1.7", STUDY, "ct", "COMPLETED", at, ("1.1", "1.2", "1.3"))
    result = Result("1.8", (Reference("1.2.840", "1.1"), Reference("1.2.840", "1.2")), ())
    asked = Commitment(
        0, "ct", "NODE", "::1", 0, CommitmentState.ANSWERED, at, at, 3, result, "Give the port."
    )
    with found.ledger.begin() as change:
        change.notices.replace([step])
        change.commitments.record(asked, [STUDY])
    return found


def test_notices_and_commitments_are_told(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["study", "show", STUDY]) == EXIT_OK
    out = capsys.readouterr().out
    assert "What its senders said and asked" in out
    assert "peer 'ct', procedure step: COMPLETED, 3 objects named, 2 of them here" in out
    assert "peer 'ct', commitment: 2 objects safe, 0 not; answered. Give the port." in out
    assert "Peer 'ct' asked for commitment: 2 objects are safe, 0 are not." in out


def test_notices_and_commitments_in_json(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["study", "show", STUDY, "--json"]) == EXIT_OK
    story = json.loads(capsys.readouterr().out)
    (said,), (asked,) = story["notices"], story["commitments"]
    assert said["kind"] == "mpps"
    assert (said["objects"], said["objects_here"]) == (3, 2)
    assert (asked["state"], asked["committed"], asked["failed"]) == ("answered", 2, 0)


def test_study_of_which_nothing_was_said_has_no_such_part(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.store(["1.9"], "1.2.5")
    assert execute(["study", "show", "1.2.5"]) == EXIT_OK
    assert "senders said" not in capsys.readouterr().out
