"""Studies in a ledger and a spool, as intake leaves them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from secondread.domain.instance import Instance
from secondread.store import Ledger, Spool
from tests.slices import instance_of, store


def keep(ledger: Ledger, data_dir: Path, files: Sequence[Path]) -> int:
    """Put files into the spool and the ledger; the number of the study of the last one."""
    spool = Spool(data_dir)
    spool.prepare()
    records: list[Instance] = []
    for path in files:
        found = pydicom.dcmread(path, stop_before_pixels=True)
        record = instance_of(path, found)
        target = spool.object_path(record.sop_instance_uid)
        target.write_bytes(path.read_bytes())
        records.append(replace(record, path=spool.relative(target)))
    with ledger.begin() as change:
        change.instances.add(records)
        change.studies.add_instances(records, lambda _: 30.0)
        return change.studies.find(records[-1].study_instance_uid).id


def keep_datasets(ledger: Ledger, data_dir: Path, datasets: Sequence[Dataset], folder: Path) -> int:
    """Write data sets as files into a folder, and keep them."""
    folder.mkdir(exist_ok=True)
    return keep(ledger, data_dir, [store(dataset, folder) for dataset in datasets])
