"""How many objects there should be: what headers and notices say, against what is here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from secondread.domain.instance import Instance
from secondread.domain.notice import Availability, Notice, NoticeKind, StepStatus

_STUDY_NUMBER = "NumberOfStudyRelatedInstances"
_SERIES_NUMBER = "NumberOfSeriesRelatedInstances"
_ACQUISITION_NUMBER = "ImagesInAcquisition"
_GONE = frozenset({Availability.OFFLINE, Availability.UNAVAILABLE})


@dataclass(frozen=True, slots=True)
class Expectation:
    """A number of objects that somebody has announced.

    Attributes:
        what: what is counted, such as 'images of series 3'.
        source: who says so, such as 'Images in Acquisition'.
        here: how many of them are here.
        expected: how many there should be.
        whole: whether there is nothing else to come once it is reached.
        series_instance_uid: of the series that it is about; '' for the study.
    """

    what: str
    source: str
    here: int
    expected: int
    whole: bool = False
    series_instance_uid: str = ""

    @property
    def reached(self) -> bool:
        """Whether all are here."""
        return self.here >= self.expected

    def __str__(self) -> str:
        """Half a sentence for people."""
        verb = "is" if self.here == 1 else "are"
        return f"{self.here} of {self.expected} {self.what} {verb} here ({self.source})"


@dataclass(frozen=True, slots=True)
class Announced:
    """What was announced of a study.

    Attributes:
        expectations: the numbers, in a fixed order.
        whole_series: UIDs of the series whose own number is known and reached.
        steps_in_progress: how many performed procedure steps of it go on (MPPS).
    """

    expectations: tuple[Expectation, ...] = ()
    whole_series: frozenset[str] = frozenset()
    steps_in_progress: int = 0


def find_expectations(instances: Sequence[Instance], notices: Sequence[Notice]) -> Announced:
    """What the headers of a study's objects and the notices about it announce."""
    here = frozenset(record.sop_instance_uid for record in instances)
    of_series: dict[str, list[Instance]] = {}
    for record in instances:
        of_series.setdefault(record.series_instance_uid, []).append(record)
    related = tuple(_of_series(of_series))
    steps = [said for said in notices if said.kind is NoticeKind.MPPS]
    going_on = sum(said.status == StepStatus.IN_PROGRESS for said in steps)
    return Announced(
        expectations=(
            *_of_study(instances),
            *related,
            *_of_acquisitions(of_series),
            *_of_steps(steps, here, ended=not going_on),
            *_of_availability(notices, here),
        ),
        whole_series=frozenset(one.series_instance_uid for one in related if one.reached),
        steps_in_progress=going_on,
    )


def _of_study(instances: Sequence[Instance]) -> Iterable[Expectation]:
    """Number of Study Related Instances (0020,1208), which archives write as they forward."""
    expected = max((_number(record.facts, _STUDY_NUMBER) for record in instances), default=0)
    if expected:
        yield Expectation(
            "objects of the study",
            "Number of Study Related Instances",
            len(instances),
            expected,
            whole=True,
        )


def _of_series(of_series: Mapping[str, Sequence[Instance]]) -> Iterable[Expectation]:
    """Number of Series Related Instances (0020,1209)."""
    for uid, records in of_series.items():
        expected = max(_number(record.facts, _SERIES_NUMBER) for record in records)
        if expected:
            yield Expectation(
                f"objects of {_name(records)}",
                "Number of Series Related Instances",
                len(records),
                expected,
                series_instance_uid=uid,
            )


def _of_acquisitions(of_series: Mapping[str, Sequence[Instance]]) -> Iterable[Expectation]:
    """Images in Acquisition (0020,1002), PS3.3 C.7.6.1: of one acquisition of one series.

    It can only say that something lacks: other acquisitions may follow. Derived images often carry
    the number of those that they were made from, and frames are counted by some and not by others,
    so only original single-frame images are asked, and only where all of them agree.
    """
    for uid, records in of_series.items():
        groups: dict[object, Counter[int]] = {}
        for record in records:
            kinds = record.facts.get("ImageType") or ()
            if kinds and kinds[0] == "ORIGINAL" and _number(record.facts, "NumberOfFrames") <= 1:
                group = groups.setdefault(record.facts.get("AcquisitionNumber"), Counter())
                group[_number(record.facts, _ACQUISITION_NUMBER)] += 1
        for numbers in groups.values():
            ((expected, here), *others) = numbers.most_common()
            if expected and not others:
                yield Expectation(
                    f"images of {_name(records)}",
                    "Images in Acquisition",
                    here,
                    expected,
                    series_instance_uid=uid,
                )


def _of_steps(
    steps: Sequence[Notice], here: frozenset[str], *, ended: bool
) -> Iterable[Expectation]:
    """What performed procedure steps name (PS3.4 F.7); all of them once the last one has ended.

    Completed steps say what there is. A step that was discontinued names what it had made, but the
    scanner may begin another one for the rest, so by itself it completes nothing.
    """
    named = {uid for said in steps if said.status != StepStatus.IN_PROGRESS for uid in said.objects}
    if named:
        completed = any(said.status == StepStatus.COMPLETED and said.objects for said in steps)
        yield Expectation(
            "objects that the scanner has made",
            "Modality Performed Procedure Step",
            len(named & here),
            len(named),
            whole=ended and completed,
        )


def _of_availability(notices: Sequence[Notice], here: frozenset[str]) -> Iterable[Expectation]:
    """What an archive says it has (PS3.4 R); what nobody can get is not waited for."""
    named = {
        uid
        for said in notices
        if said.kind is NoticeKind.AVAILABILITY and said.status not in _GONE
        for uid in said.objects
    }
    if named:
        yield Expectation(
            "objects that an archive says it has",
            "Instance Availability Notification",
            len(named & here),
            len(named),
            whole=True,
        )


def _number(facts: Mapping[str, Any], keyword: str) -> int:
    """A positive number of the header; 0 where there is none."""
    value = facts.get(keyword)
    return value if isinstance(value, int) and value > 0 else 0


def _name(records: Sequence[Instance]) -> str:
    """A series as people call it; its UID and description are not for the trail."""
    numbers = {record.facts.get("SeriesNumber") for record in records} - {None}
    return f"series {numbers.pop()}" if len(numbers) == 1 else "a series without a number"
