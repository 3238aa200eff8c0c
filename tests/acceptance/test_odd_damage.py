"""Real objects with damaged headers: refused in words or read, and never anything else.

Once as a peer might send them, through intake, and once as a broken disk might give them back.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from secondread.assembly.series import read_study
from secondread.assembly.summary import summarize
from secondread.assembly.volume import read_volume, same_pixels
from secondread.domain.instance import Instance
from secondread.errors import NotAnalysedError
from tests.acceptance.odd_sending import Door

pytestmark = pytest.mark.acceptance

SERIES = (
    "dicomdirtests/98892001/CT5N/*",
    "dicomdirtests/98892003/MR2/49*",
    "icometrix/hyperfine/anatomical/001/*",
    "icometrix/anatomical/001_implicit/*",
    "enhanced/BRTUM001",
    "pydicom_data/emri_small.dcm",
)
PREFIX_END = 132
HEADER_BYTES = 60_000
DAMAGES = (
    *(b"\xff\xff", b"\0\0", b"\\\\", b"9e", b"-1", b"  "),
    *(b"1e99", b"nan ", b"inf ", b"\\\\\\\\"),
)


@pytest.mark.parametrize(
    "seed", [0, 1, 2, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 12))]
)
def test_a_damaged_object_is_refused_in_words_or_read(shared_data, tmp_path, seed):
    dice = random.Random(seed)
    root = shared_data("odd_dicom") / "odd_dicom"
    for turn in range(12):
        folder = tmp_path / f"disk{turn}"
        folder.mkdir()
        paths = sorted(root.glob(dice.choice(SERIES)))
        files = [_damaged(path, folder / str(at), dice) for at, path in enumerate(paths)]
        with Door(tmp_path / f"door{turn}") as door:
            door.send(files, by_meta=True)
        spool = door.spool.root
        forgotten = [
            replace(one, facts={}, data_offset=0, pixel_offset=-1) for one in door.instances
        ]
        # What intake recorded and what the file says are the same, damaged or not.
        assert _outcome(door.instances, spool) == _outcome(forgotten, spool)
        _outcome([_row(file) for file in files], folder)


def _damaged(source: Path, target: Path, dice: random.Random) -> Path:
    content = bytearray(source.read_bytes())
    for _ in range(dice.choice((0, 1, 2, 5))):
        at = dice.randrange(PREFIX_END, min(len(content), HEADER_BYTES))
        if dice.random() < 0.6:
            content[at] = dice.randrange(256)
        else:
            damage = dice.choice(DAMAGES)
            content[at : at + len(damage)] = damage
    target.write_bytes(content)
    return target


def _row(path: Path) -> Instance:
    """The row of a file that was sound when intake took it."""
    return Instance(path.name, "1.2", "1.3", "1.4", "", path.name, 0, "", "scanner", 0.0)


def _outcome(instances: Sequence[Instance], spool: Path) -> object:
    """The volume, or the name and the sentence of the refusal."""
    for series in read_study(instances, spool):
        summarize(series, same_pixels(series.instances, series.headers, spool))
    if not instances:
        return None
    try:
        volume = read_volume(instances, spool)
    except NotAnalysedError as error:
        assert error.outcome
        assert str(error).endswith(".")
        return error.outcome, str(error)
    assert np.isfinite(volume.affine_lps).all()
    return volume.voxels.tobytes(), volume.affine_lps.tobytes(), volume.sources
