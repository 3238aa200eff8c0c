"""Every file of three odd data sets goes the node's way, and ends where the table says.

A file is announced and sent to intake, and what was stored is read as the pipeline reads it:
headers, parts, order and affine, pixels. The table's rows are in ``odd_cases_*.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from secondread.assembly.conditions import attributes_of
from secondread.assembly.decoding import DecoderPool
from secondread.assembly.envelope import Offer, judge
from secondread.assembly.series import read_study
from secondread.assembly.summary import summarize
from secondread.assembly.volume import read_volume, same_pixels
from secondread.bundles.input import InputEnvelope
from secondread.dicom.geometry import stack
from secondread.dicom.headers import read_slice
from secondread.dicom.parts import split
from secondread.dicom.pixels import StoredPlane, read_voxels
from secondread.dicom.planes import Plane
from secondread.domain.instance import Instance
from secondread.domain.volume import Volume
from secondread.errors import CannotUnderstandError, NotAnalysedError, PixelDataError
from tests.acceptance.cases import (
    GDCM,
    NOTHING,
    PLAIN,
    STORED,
    Case,
    Refused,
    Sound,
    files_of,
)
from tests.acceptance.odd_cases import SETS, as_document
from tests.acceptance.odd_reference import Place, places_of, values_of
from tests.acceptance.odd_sending import Door
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.acceptance

ROWS = [pytest.param(name, case, id=case.name) for name, cases in SETS.items() for case in cases]
FRAME_OF_REFERENCE = "2.25.77"


Sent = Callable[..., list[tuple[Door, list[Path]]]]


@pytest.fixture(scope="module")
def sent(
    tmp_path_factory: pytest.TempPathFactory, shared_data: Callable[[str], Path]
) -> Iterator[Sent]:
    """``sent("odd_dicom", case)``: the doors through which a case went, and its files.

    ``framed=True`` gives every object a Frame of Reference UID before it is sent.
    """
    with ExitStack() as stack_of_doors:

        @cache
        def send(name: str, case: Case, *, framed: bool = False) -> list[tuple[Door, list[Path]]]:
            paths = case.paths(shared_data(name))
            found = []
            for group in [[path] for path in paths] if case.each else [paths]:
                uid = FRAME_OF_REFERENCE if framed else ""
                door = Door(tmp_path_factory.mktemp("door"), frame_of_reference=uid)
                stack_of_doors.enter_context(door)
                assert set(door.send(group)) == {case.intake}
                found.append((door, group))
            return found

        yield send


@pytest.fixture(scope="module")
def pool() -> Iterator[DecoderPool]:
    """The processes in which the pipeline decodes."""
    with closing(DecoderPool(2)) as processes:
        yield processes


@pytest.mark.parametrize("name", SETS)
def test_every_file_has_one_row(shared_data, name):
    folder = shared_data(name)
    rows: Counter[Path] = Counter()
    for case in SETS[name]:
        paths = case.paths(folder)
        assert len(paths) == case.count, case.name
        rows.update(paths)
    assert [path for path in files_of(folder) if rows[path] != 1] == []


@pytest.mark.parametrize(("name", "case"), ROWS)
def test_intake_takes_or_refuses_each_file(sent, name, case):
    for door, paths in sent(name, case):
        assert set(door.send(paths, by_meta=True)) == {case.by_meta or case.intake}
        assert len(door.instances) == (len(paths) if case.intake == STORED else 0)


@pytest.mark.parametrize(("name", "case"), ROWS)
def test_pixels_read_as_another_program_reads_them(shared_data, sent, pool, name, case):
    for door, _ in sent(name, case):
        for instance in door.instances:
            source = door.sources[instance.sop_instance_uid]
            how = case.values_of(str(source.relative_to(shared_data(name))))
            _check_pixels(door.spool.root / instance.path, source, how, pool)


@pytest.mark.parametrize(("name", "case"), ROWS)
def test_every_frame_lies_where_its_header_says(sent, name, case):
    for door, _ in sent(name, case):
        for instance in door.instances:
            header = read_slice(door.spool.root / instance.path)
            places = places_of(door.sources[instance.sop_instance_uid])
            assert [plane.frame for plane in header.planes] == list(range(1, len(places) + 1))
            for plane, place in zip(header.planes, places, strict=True):
                lacking = plane.position_mm is None or plane.spacing_mm is None
                assert lacking == (place is None)
                if place is not None:
                    _check_place(plane, place)


@pytest.mark.parametrize(("name", "case"), ROWS)
def test_a_series_is_the_exact_volume_or_refused_by_name(sent, pool, name, case):
    for door, _ in sent(name, case):
        _check_series(door, case, case.volume, pool)
    if case.framed is not None:
        for door, _ in sent(name, case, framed=True):
            _check_series(door, case, case.framed, pool)


@pytest.mark.parametrize(("name", "case"), ROWS)
def test_a_model_that_takes_everything_is_given_sound_source_images_only(sent, name, case):
    for door, _ in sent(name, case):
        if not door.instances:
            continue
        (series,) = read_study(door.instances, door.spool.root)
        summary = summarize(series)
        offers = [Offer(summary, part, attributes_of(summary, part)) for part in summary.parts]
        modalities = tuple(map(str, summary.attributes.get("Modality", ())))
        offers = offers or [Offer(summary, None, summary.attributes)]
        takes = InputEnvelope(
            *(modalities, (), 1, 10_000, 0.0, 1000.0, 0.0, ()),
            gantry_tilt="resample",
            allow_derived=True,
        )
        for verdict in judge(offers, takes, [""] * len(offers)):
            assert verdict.accepted == (isinstance(case.volume, Sound) and not case.never)
            assert verdict.reason.endswith(".")
            if case.never:
                assert verdict.outcome == case.never


def test_the_documented_table_is_the_tested_one():
    written = (REPOSITORY / "docs" / "cases.md").read_text(encoding="utf-8")
    assert written == as_document()


def _check_pixels(stored: Path, source: Path, how: str, pool: DecoderPool) -> None:
    try:
        header = read_slice(stored)
        planes = [StoredPlane(stored, header.pixels, plane) for plane in header.planes]
        found = read_voxels(planes, pool)
    except (PixelDataError, CannotUnderstandError) as error:
        assert str(error).endswith(".")
        assert getattr(error, "outcome", NOTHING) == how, error
        return
    assert how in {GDCM, PLAIN}
    expected = values_of(source, how)
    assert found.dtype in {np.dtype(np.int16), np.dtype(np.float32)}
    np.testing.assert_array_equal(found, expected.astype(np.float32))


def _check_place(plane: Plane, place: Place) -> None:
    assert plane.position_mm == tuple(place.position)
    between_rows, between_columns = plane.spacing_mm
    down, across = np.array(plane.column_direction), np.array(plane.row_direction)
    np.testing.assert_allclose(down * between_rows, place.per_row, rtol=1e-12)
    np.testing.assert_allclose(across * between_columns, place.per_column, rtol=1e-12)


def _check_series(door: Door, case: Case, expected: object, pool: DecoderPool) -> None:
    instances = door.instances
    if not instances:
        assert expected is None
        return
    by_series: dict[str, list[Instance]] = {}
    for instance in instances:
        by_series.setdefault(instance.series_instance_uid, []).append(instance)
    (members,) = by_series.values()
    headers = [read_slice(door.spool.root / member.path) for member in members]
    groups = split(headers)
    wanted = expected if isinstance(expected, dict) else {"": expected}
    assert {group.name for group in groups} == set(wanted)
    for part, outcome in wanted.items():
        # Once from what intake recorded, and once from the files alone, in another order.
        spool = door.spool.root
        _check_outcome(_read(members, spool, part, pool), outcome, door, case)
        forgotten = [replace(one, facts={}, data_offset=0, pixel_offset=-1) for one in members]
        _check_outcome(_read(forgotten[::-1], spool, part, None), outcome, door, case)
    _check_summary(door, members, wanted)


def _check_summary(door: Door, members: Sequence[Instance], wanted: Mapping[str, object]) -> None:
    """What selection is told of a series is what becomes of it."""
    (series,) = read_study(members, door.spool.root)
    alike = same_pixels(series.instances, series.headers, door.spool.root)
    for part in summarize(series, alike).parts:
        outcome = wanted[part.name]
        if isinstance(outcome, Sound):
            assert (part.outcome, part.slices) == ("sound", outcome.shape[0])
            assert part.tilt_degrees == pytest.approx(outcome.tilt_degrees, abs=0.01)
        else:
            assert isinstance(outcome, Refused)
            assert outcome.outcome == part.outcome or part.pixels


def _read(
    members: Sequence[Instance], spool: Path, part: str, pool: DecoderPool | None
) -> Volume | NotAnalysedError:
    try:
        return read_volume(members, spool, part, pool)
    except NotAnalysedError as error:
        return error


def _check_outcome(
    found: Volume | NotAnalysedError, expected: object, door: Door, case: Case
) -> None:
    if isinstance(found, NotAnalysedError):
        assert isinstance(expected, Refused), found
        assert found.outcome == expected.outcome, found
        assert str(found).endswith(".")
        assert all(words in str(found) for words in expected.words), found
    else:
        assert isinstance(expected, Sound), found.voxels.shape
        assert isinstance(case.values, str)
        _check_volume(found, door, case.values, expected)


def _check_volume(volume: Volume, door: Door, how: str, expected: Sound) -> None:
    assert volume.voxels.shape == expected.shape
    affine = volume.affine_lps
    normal = np.cross(affine[:3, 2], affine[:3, 1])
    normal /= np.linalg.norm(normal)
    assert np.linalg.norm(affine[:3, 0]) == pytest.approx(expected.step_mm, abs=2e-3)
    along = float(affine[:3, 0] @ normal)
    tilt = np.degrees(np.arccos(min(1.0, along / np.linalg.norm(affine[:3, 0]))))
    assert tilt == pytest.approx(expected.tilt_degrees, abs=0.01)
    assert len({(one.sop_instance_uid, one.frame) for one in volume.sources}) == len(volume.voxels)
    _, rows, columns = expected.shape
    corners = [(0, 0), (rows - 1, 0), (0, columns - 1), (rows - 1, columns - 1)]
    for index, origin in enumerate(volume.sources):
        source = door.sources[origin.sop_instance_uid]
        place = places_of(source)[origin.frame - 1]
        assert place is not None
        assert place.normal @ normal == pytest.approx(1, abs=1e-4)
        for row, column in corners:
            at_mm = place.position + row * place.per_row + column * place.per_column
            np.testing.assert_allclose((affine @ (index, row, column, 1))[:3], at_mm, atol=0.02)
        pixels = values_of(source, how)[origin.frame - 1].astype(np.float32)
        np.testing.assert_array_equal(volume.voxels[index], pixels)
    headers = [read_slice(door.spool.root / one.path) for one in door.instances]
    assert stack(headers).tilt_degrees == pytest.approx(expected.tilt_degrees, abs=0.01)
