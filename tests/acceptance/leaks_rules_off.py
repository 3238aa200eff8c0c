"""Rules that keep patients out of logs, workers and work folders, switched off one by one.

Each is replaced from outside, by a ``sitecustomize`` of the node's processes: the node has no
switch for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

LIBRARIES_LOG_FREELY = """
from secondread.observe import logging as node_logging
node_logging._WithoutText.filter = lambda self, record: True
"""
ENVIRONMENT_IS_HANDED_ON = """
import os
from secondread.inference.containment import launch
emptied = launch.environment
launch.environment = lambda threads: {**os.environ, **emptied(threads)}
"""
IMAGES_GO_ALONG = """
import shutil
from secondread.pipeline import prepare
built_up = prepare.Prepare._prepare
def with_an_image(self, job):
    built_up(self, job)
    place = self._place
    for instance in place.instances_of(job)[:1]:
        shutil.copy(place.spool.absolute(instance.path), place.spool.work / job.key / "image")
prepare.Prepare._prepare = with_an_image
"""
VALUES_ARE_REASONS = """
from secondread.store.trail import Trail
append = Trail.append
def with_a_uid(self, at, event, text, **rest):
    row = self._connection.exec_driver_sql("SELECT study_instance_uid FROM study").first()
    append(self, at, event, f"{text} {row[0] if row else ''}", **rest)
Trail.append = with_a_uid
"""
RULES: Mapping[str, str] = MappingProxyType(
    {
        "log": LIBRARIES_LOG_FREELY,
        "worker": ENVIRONMENT_IS_HANDED_ON,
        "files": IMAGES_GO_ALONG,
        "trail": VALUES_ARE_REASONS,
    }
)


def switch_off(folder: Path) -> Path:
    """Write the module that switches all of them off; a folder for ``PYTHONPATH``."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("".join(RULES.values()), encoding="utf-8")
    return folder
