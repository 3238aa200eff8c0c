"""The seam between the ledger and whatever runs models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from secondread.domain.answer import Declared
from secondread.domain.technical import AttributeValue


@dataclass(frozen=True, slots=True)
class Upstream:
    """A model that has to run first: id, folder and digest of its package, and its version."""

    id: str
    folder: str
    digest: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """What an engine is given: of the study the volume and what ``deid.boundary`` lets through.

    Attributes:
        job_key: the opaque key of the job.
        attempt: which try this is; a result counts only for the attempt that holds the claim.
        model_id: the model, its folder and the digest of its package.
        volume_path: ``.npy`` file, ``(slice, row, column)``.
        labels_path: where the label map goes, a ``.npy`` file; the rest of the answer lies beside
            it, by the names of ``inference.answer``.
        affine_lps: 4 x 4, row by row, voxel (slice, row, column) to LPS mm from the middle of the
            volume.
        labels: the label values that the answer may hold, besides 0; none for a model that answers
            no structures.
        deadline_s: seconds after which the model is killed.
        attributes: what the manifest asks for and may be told, by name.
        images_folder: where the files ``0001.dcm`` … lie, of a model that needs them; else ''.
        declared: what the answer may hold besides the label map.
        upstream: the models that run first on the same volume, in this order.
    """

    job_key: str
    attempt: int
    model_id: str
    model_folder: str
    model_digest: str
    volume_path: str
    labels_path: str
    affine_lps: tuple[tuple[float, ...], ...]
    labels: tuple[int, ...]
    deadline_s: float
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    images_folder: str = ""
    declared: Declared = field(default_factory=Declared)
    upstream: tuple[Upstream, ...] = ()


@dataclass(frozen=True, slots=True)
class Ticket:
    """A task that an engine has accepted."""

    job_key: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Slot:
    """A place where one model can run; ``warm_model`` is the one that is loaded there."""

    name: str
    device: str
    warm_model: str
    busy: bool


@dataclass(frozen=True, slots=True)
class Finished:
    """The model answered: what its manifest declares is on disk, or a refusal in one sentence."""

    ticket: Ticket
    refusal: str
    checks: tuple[tuple[str, float, float, float, bool], ...]
    """(name, value, low, high, passed) of each plausibility check."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The model broke, or answered what its manifest does not declare."""

    ticket: Ticket
    reason: str
    audit_code: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker went away; nothing is known about the model."""

    ticket: Ticket
    reason: str


Outcome = Finished | Failed | Lost


class Engine(Protocol):
    """Runs tasks somewhere; may lose them, never doubles them."""

    def slots(self) -> Sequence[Slot]:
        """All slots, busy or free."""

    def submit(self, task: Task) -> Ticket:
        """Start a task in a free slot; raises ``ModelError`` when there is none."""

    def collect(self, wait_s: float) -> Sequence[Outcome]:
        """What ended since the last call; waits up to ``wait_s`` for the first."""

    def cancel(self, ticket: Ticket) -> None:
        """Stop a task; its outcome is not reported."""

    def close(self) -> None:
        """Stop everything."""
