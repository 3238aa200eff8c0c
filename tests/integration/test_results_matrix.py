"""Every kind of result of every kind of source, as other people's programs see it.

The whole matrix is slow; a diagonal through it, in which any two values meet, is not.
"""

from __future__ import annotations

from itertools import product

import pytest

from conformance.validators import (
    ToolAbsentError,
    run_dcentvfy,
    run_dciodvfy,
    run_dsrdump,
    run_pixelmed,
    run_segimage2itkimage,
    run_tid1500reader,
    without_quirks,
)
from secondread.domain.form import SegmentationKind
from secondread.results.write import write_results
from tests.matrix_cases import COUNTS, KINDS, PLANES, SOURCES, make_matrix_case

ALL = list(product(SOURCES, PLANES, KINDS, COUNTS))
DIAGONAL = [
    (SOURCES[(p + c) % 3], PLANES[p], KINDS[(p + 2 * c) % 3], COUNTS[c])
    for p, c in product(range(4), range(4))
]
SLOW = [
    pytest.param(*cell, marks=pytest.mark.slow, id="-".join(map(str, cell)))
    if cell not in DIAGONAL
    else pytest.param(*cell, id="-".join(map(str, cell)))
    for cell in ALL
]


def left_by(check, *arguments):
    """What a validator finds besides its known quirks; a skip where it is not installed."""
    try:
        return without_quirks(check(*arguments))
    except ToolAbsentError as absent:
        pytest.skip(str(absent))


@pytest.mark.parametrize(("source", "plane", "kind", "count"), SLOW)
def test_no_validator_finds_an_error(tmp_path, source, plane, kind, count):
    case = make_matrix_case(tmp_path / "series", source, plane, kind, count)
    objects = write_results(case.context, case.analysis, tmp_path)
    by_kind = {item.kind: tmp_path / item.path for item in objects}
    assert ("seg" in by_kind) == (count > 0)
    found = left_by(run_dciodvfy, by_kind["sr"])
    found += left_by(run_dsrdump, by_kind["sr"])
    found += left_by(run_tid1500reader, by_kind["sr"])
    found += left_by(run_dcentvfy, case.paths, list(by_kind.values()))
    if count:
        found += left_by(run_dciodvfy, by_kind["seg"])
        # dcmqi reads binary segmentations alone.
        if kind is SegmentationKind.BINARY:
            found += left_by(run_segimage2itkimage, by_kind["seg"])
    assert found == []


# PixelMed takes some seconds to load its rules, for each report.
@pytest.mark.slow
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("source", SOURCES)
def test_reports_against_their_template(tmp_path, source, plane, count):
    kind = KINDS[(PLANES.index(plane) + COUNTS.index(count)) % 3]
    case = make_matrix_case(tmp_path / "series", source, plane, kind, count)
    objects = write_results(case.context, case.analysis, tmp_path)
    assert left_by(run_pixelmed, tmp_path / objects[-1].path) == []
