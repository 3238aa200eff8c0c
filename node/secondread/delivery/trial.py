"""A trial of a destination, whatever its kind: whether results can go there and be proven there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from secondread.delivery.address import shown
from secondread.delivery.calling import address_of, identity_of
from secondread.delivery.diagnosis import Call, diagnose, results_of
from secondread.delivery.folder_drop import check_folder
from secondread.delivery.steps import Found, Outcome, Step, Take, summarise, take_steps
from secondread.delivery.web_trial import try_web
from secondread.domain.destination import Destination, Proof, Way
from secondread.domain.drop_folder import DropFolder
from secondread.domain.network import TlsSettings
from secondread.errors import DeliveryError

_GIB = 1024**3
_SPACE_SMALL_BYTES = _GIB


@dataclass(frozen=True, slots=True)
class Trial:
    """What can be done about a destination to see whether it works.

    Attributes:
        shown: it, for sentences.
        steps: taken as they are asked for; each ends within its time.
    """

    shown: str
    steps: Iterator[Step]

    def conclude(self, steps: Sequence[Step]) -> str:
        """What the steps come to in one sentence."""
        return summarise(self.shown, steps)


def call_of_destination(destination: Destination, timeout_s: float) -> Call:
    """How a destination that speaks DICOM is called for a trial.

    Raises:
        DeliveryError: it has no port, or the passcode for it cannot be read.
    """
    plain = Call(
        address_of(replace(destination, timeout_s=timeout_s)),
        identity=identity_of(destination),
        results=results_of(destination.form),
        proof=destination.terms.proof,
    )
    files = destination.security
    if files is None:
        return plain
    return replace(
        plain,
        tls=TlsSettings(certificate=files.certificate, key=files.key, ca=files.ca),
        certificate_sha256=files.certificate_sha256,
        checks_host=files.checks_host,
    )


def try_out(destination: Destination, timeout_s: float) -> Trial:
    """Try a destination; nothing is stored there, and each step takes ``timeout_s`` at the most.

    Raises:
        ConfigurationError: its files for TLS cannot be used.
        ValueError: it stands for the senders, of which each is one of its own.
    """
    proof = destination.terms.proof
    if destination.web is not None:
        return Trial(destination.web.shown, try_web(destination.web, proof, timeout_s))
    if destination.folder is not None:
        steps = _FolderVisit(destination.folder, proof).steps()
        return Trial(destination.folder.shown, take_steps(steps))
    if destination.way is Way.SENDER:
        raise ValueError("a sender is tried as one of the peers")
    try:
        call = call_of_destination(destination, timeout_s)
    except DeliveryError as error:
        failed = Step("settings", Outcome.FAILED, str(error), 0.0)
        return Trial(f"'{destination.name}'", iter((failed,)))
    return Trial(shown(call.address), diagnose(call))


@dataclass(frozen=True, slots=True)
class _FolderVisit:
    """The steps for a folder; what a trial writes there it takes away again."""

    target: DropFolder
    proof: Proof

    def steps(self) -> Iterator[tuple[str, Take]]:
        yield "folder", self.look
        yield "space", self.measure
        yield "proof", self.look_at_proof

    def look(self) -> Found:
        """Whether it is there, is what it should be, and may be written."""
        check_folder(self.target)
        marked = f", with '{self.target.marker}' in it," if self.target.marker else ""
        return Outcome.OK, f"'{self.target.folder}' is there{marked} and may be written."

    def measure(self) -> Found:
        """How much space it has."""
        try:
            free_bytes = shutil.disk_usage(self.target.folder).free
        except OSError as error:
            return Outcome.WARNING, f"Its free space is not known: {error.strerror}."
        if free_bytes < _SPACE_SMALL_BYTES:
            return Outcome.WARNING, f"It has only {free_bytes / _GIB:.1f} GiB left: make room."
        return Outcome.OK, f"It has {free_bytes / _GIB:.1f} GiB left."

    def look_at_proof(self) -> Found:
        """A folder can always be read again."""
        if self.proof is Proof.NONE:
            return Outcome.NOTE, "Nothing is asked for as proof, as the configuration says."
        return Outcome.NOTE, "What is there will be read again, which is the proof."
