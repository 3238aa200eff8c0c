"""What a webhook's document says, what it never says, and its signature."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from secondread.delivery.telling.event import Announcement, Job, document_of
from secondread.delivery.telling.signature import read_secret, sign
from secondread.domain.telling import Event
from secondread.errors import PeerRefusedError, PeerUnreachableError
from secondread.observe.keys import study_key

STUDY, RESULT = "1.2.826.0.1.3680043.8.498.1", "1.2.826.0.1.3680043.8.498.1.9"
KEY = study_key(STUDY, b"0" * 32)
JOB = Job(17, "written", "Kopf MR", "brain-mr", "1.2.0", "not-analysed")


def announcement(job: Job | None = JOB, **values: Any) -> Announcement:
    known: dict[str, Any] = {
        "key": "job-safe/17/pacs",
        "event": Event.JOB_SAFE,
        "happened_at": 1_700_000_000.25,
        "study_number": 5,
        "study_key": KEY,
        "job": job,
        "destinations": ("pacs", "Zweitbefund für die Klinik"),
        "times": {"received": 1_699_999_900.0},
        "study_instance_uid": STUDY,
        "result_uids": (RESULT,),
    }
    return Announcement(**{**known, **values})


def test_document_names_no_uid_unless_it_may() -> None:
    said = announcement()
    plain, full = document_of(said), document_of(said, with_uids=True)
    assert STUDY.encode() not in plain
    content, more = json.loads(plain), json.loads(full)
    assert content == {
        "version": 1,
        "id": said.id,
        "event": "job-safe",
        "at": "2023-11-14T22:13:20.250Z",
        "study": {"number": 5, "key": KEY},
        "job": {"number": 17, "state": "written", "rule": "Kopf MR"},
        "model": {"name": "brain-mr", "version": "1.2.0"},
        "outcome": "not-analysed",
        "destinations": ["pacs", "Zweitbefund für die Klinik"],
        "times": {"received": "2023-11-14T22:11:40.000Z"},
    }
    assert more.pop("study_instance_uid") == STUDY
    assert more.pop("result_sop_instance_uids") == [RESULT]
    assert more == content


def test_event_that_is_about_no_study_names_none() -> None:
    said = Announcement("destination-down/9", Event.DESTINATION_DOWN, 0.0, destinations=("pacs",))
    assert json.loads(document_of(said, with_uids=True)) == {
        "version": 1,
        "id": said.id,
        "event": "destination-down",
        "at": "1970-01-01T00:00:00.000Z",
        "destinations": ["pacs"],
        "times": {},
    }


def test_id_is_that_of_the_event_whoever_is_told() -> None:
    first = announcement()
    assert document_of(first) == document_of(announcement())
    assert first.id == announcement(study_instance_uid="", result_uids=()).id
    others = {
        announcement(happened_at=1.0).id,
        announcement(key="job-safe/17/other").id,
        announcement(event=Event.JOB_FAILED).id,
        announcement(study_key="0" * 12).id,
        announcement(replace(JOB, number=18)).id,
    }
    assert len(others | {first.id}) == 6


@pytest.mark.parametrize(
    "values",
    [
        {"study_key": STUDY},
        {"times": {"Birth Date": 0.0}},
        {"destinations": ("pacs\n",)},
        {"result_uids": ("Doe^Jane",)},
        {"job": replace(JOB, outcome="Lesion in the left lobe of Mrs Doe")},
        {"job": replace(JOB, state="")},
        {"job": replace(JOB, model="x" * 129)},
    ],
)
def test_free_text_does_not_get_into_a_document(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        announcement(**values)


def test_message_of_the_ledger_is_read() -> None:
    content = {
        "event": "job-safe",
        "at": 1_700_000_000.25,
        "study_id": 5,
        "study_key": KEY,
        "study_instance_uid": STUDY,
        "job_id": 17,
        "job_state": "written",
        "rule": "Kopf MR",
        "model": "brain-mr",
        "model_version": "1.2.0",
        "outcome": "not-analysed",
        "destinations": ["pacs", "Zweitbefund für die Klinik"],
        "times": {"received": 1_699_999_900.0},
        "result_uids": [RESULT],
    }
    read = Announcement.from_content("job-safe/17/pacs", json.loads(json.dumps(content)))
    assert read == announcement()
    down = Announcement.from_content(
        "x", {"event": "destination-down", "at": 1.0, "destinations": ["pacs"]}
    )
    assert (down.job, down.study_key) == (None, "")
    for bad in ({**content, "outcome": "Mrs Doe"}, {**content, "event": "x"}, {"at": 1.0}):
        with pytest.raises(PeerRefusedError, match="stays here") as raised:
            Announcement.from_content("x", bad)
        assert "Doe" not in str(raised.value)


def test_signature_is_that_of_rfc_2104() -> None:
    # Made with: printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 'a secret of 24 letters'
    assert sign(b"a secret of 24 letters", 1_700_000_000, b'{"a":1}') == (
        "v1=823bee1a3f682658b5ed08daa7790962d0b3bf2f4dff10395349d54d73d6e260"
    )


@pytest.mark.parametrize("content", [b"too short\n", b"", b"x" * 5000, b"\n" * 20])
def test_file_without_a_secret_is_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(PeerUnreachableError, match="does not hold a secret") as raised:
        read_secret(path, "'ris'")
    assert "too short" not in str(raised.value)


def test_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(PeerUnreachableError, match="cannot be read"):
        read_secret(tmp_path / "none", "'ris'")
