"""What is told by webhook: that something has happened, and nothing that says to whom.

A document names the study by the keyed hash that logs have (``observe.keys.study_key``), and only
with ``with_uids`` by its UIDs. Every text in it is a name from the configuration, from a model's
manifest or from the state tables, so that no free text of a study can get into it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from secondread.dicom.messages import is_uid
from secondread.domain.telling import Event
from secondread.errors import PeerRefusedError

VERSION = 1
"""Of the document; it grows with changes that a receiver has to know of."""

_WORD = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_STUDY_KEY = re.compile(r"[0-9a-f]{12}")
_NAME_LENGTH_MAX = 128
_ID_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Job:
    """The job that an event is about.

    Attributes:
        number: in the ledger.
        state: its state then.
        rule: name of the rule that wanted it.
        model: name of the model.
        model_version: its version.
        outcome: stable name of what came of it, such as ``not-analysed``; '' where nothing has yet.
    """

    number: int
    state: str
    rule: str
    model: str
    model_version: str
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Announcement:
    """Something that happened.

    Attributes:
        key: stands for it in the ledger, at every try.
        event: what.
        happened_at: when; seconds since the epoch, UTC.
        study_number: of the study in the ledger; None where it is about no study.
        study_key: the keyed hash of its Study Instance UID, 12 hex digits; '' likewise.
        job: the job; None where it is about no job.
        destinations: names of the destinations that it is about.
        times: further moments by name, such as ``received``.
        study_instance_uid: for receivers that get UIDs.
        result_uids: SOP Instance UIDs of the results, likewise.

    Raises:
        ValueError: a word is none, a name is too long, or a UID or key is none.
    """

    key: str
    event: Event
    happened_at: float
    study_number: int | None = None
    study_key: str = ""
    job: Job | None = None
    destinations: tuple[str, ...] = ()
    times: Mapping[str, float] = field(default_factory=dict)
    study_instance_uid: str = ""
    result_uids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check it."""
        words, names = [*self.times], [*self.destinations]
        if self.job is not None:
            words += [self.job.state, *filter(None, [self.job.outcome])]
            names += [self.job.rule, self.job.model, self.job.model_version]
        if not all(map(_WORD.fullmatch, words)):
            raise ValueError("States, outcomes and times have short names in small letters.")
        if self.study_key and not _STUDY_KEY.fullmatch(self.study_key):
            raise ValueError("A study is named by the key that stands for it in logs.")
        if not all(len(name) <= _NAME_LENGTH_MAX and name.isprintable() for name in names):
            raise ValueError(f"Names are printable and have at most {_NAME_LENGTH_MAX} characters.")
        if not all(map(is_uid, filter(None, (self.study_instance_uid, *self.result_uids)))):
            raise ValueError("What should be a UID is none.")

    @classmethod
    def from_content(cls, key: str, content: Mapping[str, Any]) -> Announcement:
        """From a message as the ledger keeps it (``domain.telling.Telling``).

        Raises:
            PeerRefusedError: it holds what nobody may be told.
        """
        job = None
        try:
            if content.get("job_id") is not None:
                job = Job(
                    number=int(content["job_id"]),
                    state=str(content["job_state"]),
                    rule=str(content["rule"]),
                    model=str(content["model"]),
                    model_version=str(content["model_version"]),
                    outcome=str(content["outcome"]),
                )
            return cls(
                key=key,
                event=Event(content["event"]),
                happened_at=float(content["at"]),
                study_number=content.get("study_id"),
                study_key=content.get("study_key", ""),
                job=job,
                destinations=tuple(content.get("destinations", ())),
                times=dict(content.get("times", {})),
                study_instance_uid=content.get("study_instance_uid", ""),
                result_uids=tuple(content.get("result_uids", ())),
            )
        except (KeyError, TypeError, ValueError):
            # What they say may quote the value.
            raise PeerRefusedError(
                "The message holds what nobody may be told, or lacks something, and stays here; "
                "the trail has what happened."
            ) from None

    @property
    def id(self) -> str:
        """32 hex digits that stand for this event, however often it is told, and to whom."""
        content = json.dumps([self.key, _without_uids(self)], sort_keys=True).encode()
        return hashlib.sha256(content).hexdigest()[:_ID_DIGITS]


def document_of(announcement: Announcement, *, with_uids: bool = False) -> bytes:
    """The JSON document in UTF-8; the same bytes each time."""
    content = {"version": VERSION, "id": announcement.id, **_without_uids(announcement)}
    if with_uids and announcement.study_instance_uid:
        content["study_instance_uid"] = announcement.study_instance_uid
        content["result_sop_instance_uids"] = list(announcement.result_uids)
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _without_uids(said: Announcement) -> dict[str, Any]:
    found: dict[str, Any] = {"event": str(said.event), "at": _moment(said.happened_at)}
    if said.study_key:
        found["study"] = {"number": said.study_number, "key": said.study_key}
    if said.job is not None:
        job = said.job
        found["job"] = {"number": job.number, "state": job.state, "rule": job.rule}
        found["model"] = {"name": job.model, "version": job.model_version}
        found["outcome"] = job.outcome
    found["destinations"] = list(said.destinations)
    found["times"] = {name: _moment(at) for name, at in said.times.items()}
    return found


def _moment(at: float) -> str:
    """RFC 3339, in UTC."""
    text = dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
