"""What every result object is made from, and the names and numbers that follow from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from pydicom.dataset import Dataset

from secondread.bundles.manifest import Label, Manifest
from secondread.dicom.uids import derive_uid
from secondread.domain.form import Form
from secondread.domain.job import Job
from secondread.domain.series_numbers import USUAL_FIRST
from secondread.domain.volume import Volume
from secondread.errors import ResultError
from secondread.results.wording import plain

SEG = "seg"
PM = "pm"
RTSTRUCT = "rtstruct"
SR = "sr"
KO = "ko"
PR = "pr"
SC = "sc"
SUMMARY = "summary"
PDF = "pdf"
KINDS = (SEG, SR, KO, PR, SC, SUMMARY, PDF, PM, RTSTRUCT)
"""Every kind of result object; the place in this list is the last digit of its Series Number."""
RESEARCH = "RESEARCH"
NODE_MANUFACTURER = "SecondRead"
NODE_MODEL = "SecondRead AI node"
RESEARCH_NOTICE = "Research use only. Not for diagnosis."

_NUMBERED_VERSIONS_MAX = 10
_SERIES_NUMBER_BASE = 90
_SERIES_NUMBER_MAX = 2_000_000
_LONG_STRING = 64
_VERSION_SIGNS = 16


@dataclass(frozen=True, slots=True)
class Predecessor:
    """The report of an earlier version of a job; ``model_version`` is of the model that made it."""

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    model_version: str = ""


@dataclass(frozen=True, slots=True)
class ResultContext:
    """One job's inputs, seen from the side of its results.

    Attributes:
        job: the job; ``created_at`` dates the results, so that writing twice gives the same bytes.
        manifest: the model that answered, or that would have.
        qualification: Content Qualification, ``RESEARCH`` or ``PRODUCT`` (PS3.3 C.8.13.2.1.1).
        sources: headers of the source objects, without pixels; where there is a volume, every
            object of it and nothing else.
        volume: what the model saw; ``None`` where nothing was analysed.
        ae_title: the node's own.
        device_serial: serial number of this installation.
        uid_root: the operator's own UID root, or empty.
        software_version: of the node.
        predecessor: the report that the job's own replaces; ``None`` where there is none.
        form: in which the destination wants the results.
        series_from: the first of the model's Series Numbers behind the source's.
    """

    job: Job
    manifest: Manifest
    qualification: str
    sources: tuple[Dataset, ...]
    volume: Volume | None
    ae_title: str
    device_serial: str
    uid_root: str
    software_version: str
    predecessor: Predecessor | None = None
    form: Form = field(default_factory=Form)
    series_from: int = USUAL_FIRST

    @property
    def reference(self) -> Dataset:
        """The header whose patient and study the results join.

        Raises:
            ResultError: there is no source object at all.
        """
        own = self.job.series_instance_uid
        for header in self.sources:
            if str(header.get("SeriesInstanceUID", "")) == own:
                return header
        if not self.sources:
            raise ResultError("A result needs at least one source object; look at the study again.")
        return self.sources[0]

    @property
    def analysed(self) -> Volume:
        """The volume; raises ``ResultError`` where nothing was analysed."""
        if self.volume is None:
            raise ResultError("Nothing was analysed, so there is nothing to segment or measure.")
        return self.volume

    def uid(self, *parts: str) -> str:
        """A UID that depends on the job's inputs and version, the model and ``parts`` alone."""
        model = (self.manifest.id, self.manifest.version, self.manifest.digest)
        version = (f"version {self.job.version}",) if self.job.version > 1 else ()
        return derive_uid(self.job.input_digest, *model, *parts, *version, root=self.uid_root)

    def object_uid(self, *parts: str) -> str:
        """As ``uid``, for an object or a series, of which each form has its own."""
        mark = self.form.mark
        return self.uid(*parts, *((f"form {mark}",) if mark else ()))

    def tracking_uid(self, label: Label) -> str:
        """Tracking UID of a structure, the same in the SEG and in the SR."""
        return self.uid("tracking", label.name)

    def tracking_id(self, label: Label) -> str:
        """Tracking ID of a structure, the same in the SEG and in the SR."""
        return plain(f"{self.manifest.id} {label.name}", _LONG_STRING)

    @property
    def device_uid(self) -> str:
        """Identifies this installation of the node."""
        return derive_uid("device", self.device_serial, root=self.uid_root)

    @property
    def model_uid(self) -> str:
        """Identifies the model; another training is another device (IHE AIR)."""
        return derive_uid("model", self.manifest.id, self.manifest.digest, root=self.uid_root)

    @property
    def model_title(self) -> str:
        """Title and version, for people."""
        return plain(f"{self.manifest.title} {self.manifest.version}", _LONG_STRING)

    @property
    def is_research(self) -> bool:
        """Whether the results must be marked as research."""
        return self.qualification == RESEARCH

    @property
    def created(self) -> datetime:
        """When the job was made, in the time zone that the study's own dates and times are in.

        Timezone Offset From UTC speaks for every date and time of an object (PS3.3 C.12.1.1.8),
        the copied study date among them. So the source's own offset is used where it has one, and
        local time, which is what a scanner writes, where it has none.
        """
        offset = str(self.reference.get("TimezoneOffsetFromUTC", ""))
        try:
            zone = datetime.strptime(offset, "%z").tzinfo if offset else None
        except ValueError:
            zone = None
        moment = datetime.fromtimestamp(self.job.created_at, tz=timezone(timedelta(0)))
        return moment.astimezone(zone).replace(microsecond=0)

    def series_number(self, kind: str) -> int:
        """Series Number: behind the source's, and next to the other results of the same source.

        Series 3 has its results from 3801 on, a segmentation first; those of the second version
        from 3811 on, as far as two digits go. Another model of the node has another hundred.
        """
        try:
            source = int(self.reference.get("SeriesNumber") or _SERIES_NUMBER_BASE)
        except (TypeError, ValueError):
            source = _SERIES_NUMBER_BASE
        if not 0 < source < _SERIES_NUMBER_MAX:
            source = _SERIES_NUMBER_BASE
        version = 10 * min(self.job.version - 1, _NUMBERED_VERSIONS_MAX - 1)
        return source * 1000 + self.series_from + version + KINDS.index(kind)

    def series_description(self, what: str) -> str:
        """Series Description: the model, what it is, which version, and whether it is research.

        Of what is too long the model's title is cut, with dots, and its version is kept.
        """
        mark = " [RESEARCH]" if self.is_research else ""
        version = f", version {self.job.version}" if self.job.version > 1 else ""
        end = f" {plain(self.manifest.version, _VERSION_SIGNS)}: {what}{version}{mark}"
        title, room = plain(self.manifest.title), _LONG_STRING - len(end)
        return (title if len(title) <= room else f"{title[: room - 3].rstrip()}...") + end
