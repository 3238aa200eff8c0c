"""Nothing that is planted in a study is in what an export writes, names and manifest included."""

from __future__ import annotations

import base64
import gzip
import zlib
from dataclasses import replace

import pydicom
import pytest
from pydicom.datadict import tag_for_keyword

from secondread.deid.export import Export, export
from secondread.deid.profile import table
from secondread.deid.profile.keys import ProjectKey
from secondread.deid.profile.options import BASIC, RESEARCH, Dates
from tests.planted.objects import KINDS, Planter, pixels
from tests.planted.scanner import MARK, Scanner

KEY = ProjectKey("planted", b"k" * 32)
FULL_DATES = replace(RESEARCH, name="full dates", dates=Dates.FULL, retain_safe_private=True)
SURNAMES = [
    kind.surname.encode(codec, "replace")
    for kind in KINDS
    for codec in (kind.codec, "utf-8", "utf-16-le", "utf-16-be")
]


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    malformed = Planter(KINDS[0], is_malformed=True)
    return [*(Planter(kind).write(folder) for kind in KINDS), malformed.write(folder)]


def export_to(folder, paths, profile=BASIC, **more):
    export(Export(paths, folder, profile, KEY, **more))
    return folder


@pytest.mark.parametrize("profile", [BASIC, RESEARCH, FULL_DATES], ids=lambda each: each.name)
def test_an_export_leaves_no_token(planted, tmp_path, profile):
    scanner = Scanner(SURNAMES, dates=profile.dates is not Dates.FULL)
    folder = export_to(tmp_path / "out", planted, profile)
    assert len(list(folder.rglob("*.dcm"))) == len(planted)
    assert (folder / "manifest.json").is_file()
    assert scanner.scan_folder(folder) == {}


@pytest.mark.filterwarnings("ignore")
def test_what_options_keep_is_what_the_table_lets_them_keep(planted, tmp_path):
    everything = replace(FULL_DATES, retain_device=True, retain_institution=True, retain_uids=True)
    folder = export_to(tmp_path / "out", planted[:1], everything)
    written = pydicom.dcmread(next(folder.rglob("*.dcm")))
    kept = {each.tag for each in written.iterall() if each.VR != "SQ" and MARK in str(each.value)}
    assert len(kept) > 20
    for tag in kept:
        options = table.listed()[tag].options
        assert "K" in (options.get("device"), options.get("institution")), tag


def test_there_is_a_lot_to_find(planted):
    found = Scanner(SURNAMES).scan(planted[0].read_bytes())
    assert len(found) > 9214
    assert Scanner().scan(planted[0].name.encode())


@pytest.mark.parametrize(
    "keyword",
    [
        "PatientBirthName",
        "StudyDescription",
        "PatientComments",
        "SOPInstanceUID",
        "StudyDate",
        "ImageComments",
        "PersonName",
        "TextValue",
        # Not in Table E.1-1:
        "DetectorID",
        "BodyPartThickness",
        "ChannelLabel",
        "DerivationDescription",
    ],
)
def test_a_rule_switched_off_is_noticed(planted, tmp_path, keyword):
    tag = tag_for_keyword(keyword)
    folder = export_to(tmp_path / "out", planted[-1:], without=frozenset({tag}))
    assert Scanner(SURNAMES, layers=0).scan_folder(folder) != {}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.is_image], ids=lambda k: k.name)
def test_pixels_and_geometry_stay(planted, tmp_path, kind):
    source = next(path for path in planted if path.name.startswith(kind.name))
    folder = export_to(tmp_path / "out", [source])
    written = pydicom.dcmread(next(folder.rglob("*.dcm")))
    assert written.PixelData == pixels()
    assert written.ImagePositionPatient == [-125, -125, 40.5]
    assert written.ImageOrientationPatient == [1, 0, 0, 0, 1, 0]
    assert written.PixelSpacing == [0.5, 0.5]


@pytest.mark.parametrize(
    "hide",
    [
        lambda text: text,
        lambda text: text.decode().encode("utf-16-le"),
        lambda text: text.decode().encode("utf-16-be"),
        base64.b64encode,
        lambda text: base64.b64encode(b"a" + text),
        lambda text: base64.b64encode(b"ab" + text),
        lambda text: text.hex().encode(),
        lambda text: text.hex().upper().encode(),
        gzip.compress,
        zlib.compress,
        lambda text: zlib.compress(text, wbits=-15),
        lambda text: gzip.compress(base64.b64encode(text)),
    ],
)
def test_the_scanner_sees_through(hide):
    noise = bytes(range(256)) * 3
    assert Scanner().scan(noise + hide(f"{MARK}000001".encode()) + noise)


def test_the_scanner_sees_nothing_where_nothing_is():
    assert Scanner(SURNAMES).scan(bytes(range(256)) * 40 + b"19000101 2.25.18610101") == []
