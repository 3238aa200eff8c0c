"""What every stage needs to hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from secondread.bundles.manifest import Manifest
from secondread.dicom.pixels import Decoder
from secondread.domain.clock import Clock
from secondread.domain.destination import Destination
from secondread.domain.instance import Instance
from secondread.domain.job import Job
from secondread.domain.network import ModelReference, Peer, Rule
from secondread.errors import NotFoundError
from secondread.store import Ledger, Spool

LEASE_S = 600.0
"""How long a claim of a stage on this machine holds; a stage that takes longer has hung."""
ATTEMPTS_MAX = 4
"""A row that was claimed this often without coming to an end takes its process down with it."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """The ledger, the files, and what the operator has configured.

    Attributes:
        owner: names the claims of this process.
        models: references by model id.
        manifests: verified packages by model id.
        device_serial: serial number of this installation.
        peers: those who send, by the administrator's names.
        decoder: decodes what is compressed; without it this process does.
        destinations: where results can go and in which form, by the administrator's names.
    """

    ledger: Ledger
    spool: Spool
    clock: Clock
    owner: str
    ae_title: str
    uid_root: str
    device_serial: str
    rules: tuple[Rule, ...]
    models: Mapping[str, ModelReference]
    manifests: Mapping[str, Manifest]
    peers: Mapping[str, Peer] = field(default_factory=dict)
    decoder: Decoder | None = None
    destinations: Mapping[str, Destination] = field(default_factory=dict)

    def rule(self, name: str) -> Rule | None:
        """The rule with this name, if it is still configured."""
        return next((rule for rule in self.rules if rule.name == name), None)

    def instances_of(self, job: Job) -> tuple[Instance, ...]:
        """The objects that the job was planned for, whatever has come since.

        Raises:
            NotFoundError: one of them is gone.
        """
        with self.ledger.read() as view:
            uid = view.studies.get(job.study_id).study_instance_uid
            sources = view.jobs.sources(job.id)
            if job.series_instance_uid:
                found = view.instances.of_series(uid, job.series_instance_uid)
            else:
                found = view.instances.of_study(uid)
        if not sources:
            # Planned by a version of the node that did not keep them.
            return tuple(found)
        wanted = frozenset(sources)
        present = tuple(
            instance
            for instance in found
            if instance.sop_instance_uid in wanted and self.spool.absolute(instance.path).is_file()
        )
        if gone := len(wanted) - len(present):
            raise NotFoundError(
                f"{gone} of the {len(wanted)} images that this job is about are not in the spool "
                "any more. Send them again, then retry the study."
            )
        return present
