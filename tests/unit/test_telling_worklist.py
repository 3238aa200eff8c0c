"""The records of scheduled work, and their data sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import SegmentationStorage

from secondread.delivery.telling.worklist.content import (
    as_json,
    cancellation_of,
    completion_of,
    encode,
    progress_of,
    search_keys,
    state_change,
)
from secondread.delivery.telling.worklist.found import decode, pick
from secondread.delivery.telling.worklist.workitem import (
    Cancellation,
    Claim,
    Criteria,
    Output,
    Performed,
    Progress,
    State,
    claim_of,
)
from secondread.dicom.messages import Element
from secondread.domain.code import Code
from secondread.domain.commitment import Reference
from tests.service_cases import EXPLICIT_LITTLE, IMPLICIT_LITTLE, decoded, encoded
from tests.telling_peers import DONE, GIVEN_UP, OURS, SEGMENT, STATION, scheduled

CONTENTS = {
    "search": search_keys(SEGMENT, STATION),
    "state": state_change(OURS, State.IN_PROGRESS),
    "progress": progress_of(OURS, Progress(12.5, "größer")),
    "completion": completion_of(OURS, DONE),
    "cancellation": cancellation_of(OURS, GIVEN_UP),
}


@pytest.mark.parametrize("syntax", [EXPLICIT_LITTLE, IMPLICIT_LITTLE])
@pytest.mark.parametrize("name", list(CONTENTS))
def test_message_and_json_say_the_same(name: str, syntax: str) -> None:
    content = CONTENTS[name]
    message = decoded(encode(content, syntax), syntax)
    web = Dataset.from_json(as_json(content))
    if "SpecificCharacterSet" in message:
        assert message.SpecificCharacterSet == "ISO_IR 192"
        del message.SpecificCharacterSet
    assert message == web
    assert _is_sorted(content)


def _is_sorted(elements: list[Element] | Any) -> bool:
    tags = [tag for tag, _, _ in elements]
    inner = [item for _, vr, value in elements if vr == "SQ" for item in value]
    return tags == sorted(tags) and all(map(_is_sorted, inner))


def test_texts_beyond_ascii_are_said_in_utf_8_and_only_they() -> None:
    plain = decoded(encode(progress_of(OURS, Progress(1, "so far")), EXPLICIT_LITTLE))
    assert "SpecificCharacterSet" not in plain
    coded = decoded(encode(CONTENTS["progress"], EXPLICIT_LITTLE))
    (said,) = coded.ProcedureStepProgressInformationSequence
    assert said.ProcedureStepProgressDescription == "größer"


def test_a_claim_is_the_same_for_ever_and_each_node_has_its_own() -> None:
    first = claim_of("1.2.3", b"a" * 32)
    assert first == claim_of("1.2.3", b"a" * 32)
    others = {claim_of("1.2.3", b"b" * 32), claim_of("1.2.4", b"a" * 32)}
    assert len({first.transaction_uid, *(claim.transaction_uid for claim in others)}) == 3
    assert first.transaction_uid.startswith("2.25.")


OBJECT = (Reference(SegmentationStorage, "1.2.3.4.5"),)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Criteria(limit=0),
        lambda: Claim("Doe", "1.2.3"),
        lambda: Claim("1.2.3", ""),
        lambda: Progress(101),
        lambda: Progress(float("nan")),
        lambda: Progress(1, "two\nlines"),
        lambda: Progress(1, "x" * 65),
        lambda: Output("1.2.3", "1.2.3.4", (), "ARCHIVE"),
        lambda: Output("1.2.3", "", OBJECT, "ARCHIVE"),
        lambda: Output("1.2.3", "1.2.3.4", OBJECT),
        lambda: Performed(Code("a", "b", "c"), STATION, 2.0, 1.0, ()),
        lambda: Performed(Code("a", "b", "c"), STATION, 1.0, 2.0, (), "a\\b"),
        lambda: Cancellation(1.0, description="x" * 65),
    ],
)
def test_records_refuse_what_no_manager_could_take(make: Callable[[], Any]) -> None:
    with pytest.raises(ValueError):
        make()


def test_what_a_manager_writes_is_not_trusted() -> None:
    bad = [
        encoded(scheduled("1.2.1")).replace(b"UI\x06\x001.2.3\0", b"UI\x06\x00Doe^J "),
        encoded(scheduled("1.2.2", ScheduledProcedureStepPriority="NOW")),
        encoded(Dataset()),
    ]
    found = pick((decode(item, EXPLICIT_LITTLE) for item in bad), Criteria())
    assert [item.sop_instance_uid for item in found] == ["1.2.1", "1.2.2"]
    assert found[0].study_instance_uid == ""
    assert found[1].priority == "MEDIUM"
    web: list[Any] = [
        {"00080018": {"vr": "UI", "Value": [17]}},
        {"00080018": {"vr": "UI", "Value": ["1.2.3\n"]}},
        {"00080018": {"vr": "UI", "Value": ["1.2.9"]}, "00404018": {"vr": "SQ", "Value": "none"}},
        {"00080018": "1.2.3"},
    ]
    assert [item.sop_instance_uid for item in pick(web, Criteria())] == ["1.2.9"]
