"""``secondread rule replay`` over many stored studies: how long it takes, a line of JSON.

``python -m tests.bench.replay --studies 10000`` builds a ledger as a node would have it, with four
series a study and three rules, and runs the command as an administrator does, in a process of its
own.
"""

from __future__ import annotations

import argparse
import json
import random
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from secondread.assembly.selection import plan
from secondread.bundles.manifest import read_manifest
from secondread.config.load import load
from secondread.domain.job import PlannedJob
from secondread.domain.series import SeriesSummary
from secondread.domain.series_document import to_document
from secondread.domain.states import JobState, StudyState
from secondread.domain.study import Study
from secondread.store import Ledger
from secondread.store.ledger import LEDGER_NAME
from secondread.store.tables import job as job_table
from secondread.store.tables import series as series_table
from secondread.store.tables import study as study_table
from tests.summaries import part, series

GOAL_S = 10.0
_DAY_S = 86_400.0
_SERIES = (
    ("loc", 3, 10.0),
    ("t2 tse tra", 24, 5.0),
    ("flair cor", 30, 4.0),
    ("t1 mprage", 176, 1.0),
)
_RULES = """
[node]
data_dir = "data"

[[models]]
id = "brain_mr"

[[peers]]
name = "mr1"
ae_title = "MR1"
addresses = ["127.0.0.1"]

[[destinations]]
name = "pacs"
ae_title = "PACS"
host = "127.0.0.1"
port = 104

[[rules]]
name = "heads"
model = "brain_mr"
destinations = ["pacs"]
peers = ["mr1"]
modalities = ["MR"]
when = [
  {{ attribute = "PatientAge", from = {age} }},
  {{ any = [
    {{ attribute = "BodyPartExamined", in = ["HEAD", "BRAIN"] }},
    {{ attribute = "StudyDescription", matches = "(?i)head|brain|neuro" }},
  ] }},
]

[[rules]]
name = "thin"
model = "brain_mr"
destinations = ["pacs"]
when = [
  {{ attribute = "SliceSpacing", to = 1.5 }},
  {{ attribute = "ImageType", is = "ORIGINAL" }},
  {{ not = {{ attribute = "SeriesDescription", matches = "(?i)loc|scout" }} }},
]

[[rules]]
name = "nights"
model = "brain_mr"
destinations = ["pacs"]
shadow = true
when = [
  {{ between = ["19:00", "07:00"] }},
  {{ attribute = "MagneticFieldStrength", in = [1.5, 3] }},
]
"""


def write_configuration(folder: Path, age: int) -> Path:
    """The rules, with the age from which one of them takes patients."""
    path = folder / f"secondread-{age}.toml"
    path.write_text(_RULES.format(age=age))
    return path


def make_series(chance: random.Random, study: int) -> tuple[SeriesSummary, ...]:
    """Four series of a head or a knee: a localizer, two of slices, one of thin slices."""
    body, words = chance.choice([("HEAD", "MR Head routine"), ("KNEE", "MR Knee left")])
    age = float(chance.randint(1, 95))
    found = []
    for number, (name, slices, spacing_mm) in enumerate(
        [
            ("loc", 3, 10.0),
            ("t2 tse tra", 24, 5.0),
            ("flair cor", 30, 4.0),
            ("t1 mprage", 176, 1.0),
        ],
        start=1,
    ):
        one = series(
            number,
            part(slices=slices, spacing_mm=(spacing_mm, 0.9, 0.9)),
            Modality="MR",
            ImageType=["ORIGINAL", "PRIMARY", "M", "ND"],
            StudyDescription=words,
            SeriesDescription=name,
            ProtocolName=name,
            BodyPartExamined=body,
            PatientAge=age,
            PatientSex="F",
            Manufacturer="Vendor",
            ManufacturerModelName="Scanner 3000",
            MagneticFieldStrength=chance.choice([1.5, 3.0]),
            EchoTime=4.6,
            RepetitionTime=2300.0,
            FlipAngle=9.0,
            SliceThickness=spacing_mm,
            SpacingBetweenSlices=spacing_mm,
            ScanningSequence="GR",
            MRAcquisitionType="3D" if slices > 100 else "2D",
            Rows=256.0,
            Columns=256.0,
            BitsStored=12.0,
            SeriesNumber=float(number),
            PhotometricInterpretation="MONOCHROME2",
            PatientPosition="HFS",
        )
        found.append(replace(one, series_instance_uid=f"1.2.{study}.{number}"))
    return tuple(found)


def build(settings_path: Path, studies: int, seed: int = 4) -> None:
    """A ledger in which the studies came over the past days and were planned by these rules."""
    chance = random.Random(seed)
    settings = load(settings_path)
    manifests = {item.id: read_manifest(Path(item.path)) for item in settings.models}
    Ledger.open(settings.data_dir).close()
    engine = sa.create_engine(f"sqlite:///{settings.data_dir / LEDGER_NAME}")
    began = time.time() - 6 * _DAY_S
    with engine.begin() as connection:
        for number in range(1, studies + 1):
            found = make_series(chance, number)
            study = _study(number, began + number * 5 * _DAY_S / studies)
            connection.execute(study_table.insert(), _columns(study_table, study))
            connection.execute(series_table.insert(), [_series_row(number, item) for item in found])
            planned = plan(study, found, settings.rules, manifests, explained=False)
            rows = [_job_row(study, item) for item in planned.jobs]
            if rows:
                connection.execute(job_table.insert(), rows)
    engine.dispose()


def _study(number: int, at: float) -> Study:
    return Study(
        id=number,
        study_instance_uid=f"1.2.{number}",
        state=StudyState.DONE,
        peer="mr1",
        first_at=at,
        last_at=at + 60,
        quiet_s=30.0,
        due_at=at + 90,
        instances=233,
        attempts=0,
        reason="",
    )


def _series_row(study_id: int, item: SeriesSummary) -> dict[str, Any]:
    return {
        "study_id": study_id,
        "series_instance_uid": item.series_instance_uid,
        "digest": item.digest,
        "summary": to_document(item),
    }


def _job_row(study: Study, item: PlannedJob) -> dict[str, Any]:
    return {
        **_columns(job_table, item),
        "key": secrets.token_hex(16),
        "study_id": study.id,
        "state": JobState.DELIVERED,
        "input_digest": secrets.token_hex(32),
        "created_at": study.due_at,
        "next_at": study.due_at,
        "outcome": "",
        "reason": item.refusal,
        "candidates": [asdict(candidate) for candidate in item.candidates],
        "checks": [],
    }


def _columns(table: sa.Table, record: Any) -> dict[str, Any]:
    return {
        column.name: getattr(record, column.name)
        for column in table.c
        if hasattr(record, column.name)
    }


def measure(settings_path: Path) -> tuple[float, dict[str, Any]]:
    """Seconds that the command takes, start of Python included, and what it said."""
    started = time.perf_counter()
    run = subprocess.run(
        [
            *(sys.executable, "-m", "secondread", "rule", "replay"),
            *("--since", "7d", "--json", "--limit", "5", "--config", str(settings_path)),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    return time.perf_counter() - started, json.loads(run.stdout)


def main() -> int:
    """Build, run with the rules as they were and with one changed, and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="build the ledger here, and keep it")
    arguments = parser.parse_args()
    held = True
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        same = write_configuration(folder, 18)
        if not (folder / "data" / LEDGER_NAME).exists():
            build(same, arguments.studies)
        for name, path in (("same", same), ("changed", write_configuration(folder, 3))):
            figure = _figure(name, path, arguments.rounds)
            held = held and figure["holds"]
            print(json.dumps(figure), flush=True)
    return 0 if held else 1


def _figure(name: str, path: Path, rounds: int) -> dict[str, Any]:
    runs = [measure(path) for _ in range(rounds)]
    seconds = sorted(taken for taken, _ in runs)
    said = runs[0][1]
    value = statistics.median(seconds)
    return {
        "figure": f"replay, {name} rules",
        "value": round(value, 2),
        "unit": "s",
        "goal": f"< {GOAL_S:g} s for 10000 studies",
        "holds": value < GOAL_S,
        "studies": said["studies"],
        "series": said["series"],
        "differences": said["differences"],
        "runs": rounds,
        "spread": [round(seconds[0], 2), round(seconds[-1], 2)],
    }


if __name__ == "__main__":
    sys.exit(main())
