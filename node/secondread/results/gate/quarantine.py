"""What the gate stopped, kept where a person can look at it and nothing is sent from.

    quarantine/<job key>/<mark of the form>/<name>.dcm     then <name>-2.dcm, …

The folders are for the node's user alone, for the objects name a patient.
"""

from __future__ import annotations

import filecmp
import re
from collections import Counter
from pathlib import Path

import structlog

from secondread.observe.metrics import write_quarantine

log = structlog.stdlib.get_logger(__name__)

QUARANTINE_FOLDER = "quarantine"
METRICS_FILE = Path("metrics", "results.prom")
KEPT_MAX = 5
"""Of one object of one job and form; the oldest goes where one more comes."""
_NUMBERED = re.compile(r"(?P<name>.+?)(?:-(?P<number>\d+))?\.dcm")
_PRIVATE_MODE = 0o700


def keep(partial: Path, data_dir: Path, relative: Path, reason: str) -> Path:
    """Move an object that was stopped to the quarantine, and say so in log and metrics.

    Args:
        partial: the object as it would have left.
        data_dir: the data folder.
        relative: where the object would lie under it, ``results/<job key>/<mark>/<name>.dcm``.
        reason: the sentence of the gate.

    Returns:
        Where it lies, relative to the data folder. The same bytes are kept once.

    Raises:
        OSError: it cannot be moved.
    """
    folder = data_dir / QUARANTINE_FOLDER
    _make_private(folder)
    for part in relative.parts[1:-1]:
        folder /= part
        _make_private(folder)
    before = _list_kept(folder, relative.stem)
    same = next((path for path in before.values() if _is_same(path, partial)), None)
    if same is not None:
        partial.unlink()
        target = same
    else:
        number = max(before, default=0) + 1
        target = folder / (relative.name if number == 1 else f"{relative.stem}-{number}.dcm")
        partial.replace(target)
        for old in sorted(before, reverse=True)[KEPT_MAX - 1 :]:
            before[old].unlink(missing_ok=True)
    kept = target.relative_to(data_dir)
    log.error(
        "result stopped at the gate",
        job=relative.parts[1],
        object=relative.stem,
        reason=reason,
        kept=str(kept),
    )
    publish_counts(data_dir)
    return kept


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=_PRIVATE_MODE, parents=True, exist_ok=True)
    folder.chmod(_PRIVATE_MODE)


def _list_kept(folder: Path, stem: str) -> dict[int, Path]:
    """What is kept of an object, by number."""
    found = {}
    for path in folder.glob("*.dcm"):
        match = _NUMBERED.fullmatch(path.name)
        if match is not None and match["name"] == stem:
            found[int(match["number"] or 1)] = path
    return found


def _is_same(path: Path, other: Path) -> bool:
    return filecmp.cmp(path, other, shallow=False)


def publish_counts(data_dir: Path) -> None:
    """Tell the monitoring how many objects there are, by the kind that their names begin with."""
    kinds: Counter[str] = Counter()
    for path in (data_dir / QUARANTINE_FOLDER).rglob("*.dcm"):
        kinds[re.split(r"[-_\d.]", path.name)[0]] += 1
    try:
        write_quarantine(data_dir / METRICS_FILE, kinds)
    except OSError as error:
        log.warning("metrics could not be written", reason=error.strerror)
