"""What every stage needs to hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from secondread.bundles.manifest import Manifest
from secondread.domain.clock import Clock
from secondread.domain.instance import Instance
from secondread.domain.job import Job
from secondread.domain.network import ModelReference, Rule
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

    def rule(self, name: str) -> Rule | None:
        """The rule with this name, if it is still configured."""
        return next((rule for rule in self.rules if rule.name == name), None)

    def instances_of(self, job: Job) -> tuple[Instance, ...]:
        """The objects of the job's series, or of its study where it has no series."""
        with self.ledger.read() as view:
            study = view.studies.get(job.study_id)
            uid = study.study_instance_uid
            if not job.series_instance_uid:
                return tuple(view.instances.of_study(uid))
            return tuple(view.instances.of_series(uid, job.series_instance_uid))
