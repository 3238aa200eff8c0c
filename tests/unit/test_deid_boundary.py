from __future__ import annotations

import json
import os
import time

import numpy as np
import pytest

from secondread.assembly.volume import read_volume
from secondread.deid.attributes import Permitted
from secondread.deid.boundary import load_prepared, prepare
from secondread.domain.volume import SourceSlice, Volume
from secondread.errors import PixelDataError
from tests.slices import make_series, store_all


def _volume(kind=np.int16) -> Volume:
    affine = np.array([[0, 0, 0.3, -1 / 3], [0, 1, 0, 1e-7], [2, 0, 0, 5], [0, 0, 0, 1]])
    voxels = np.arange(24).reshape(2, 3, 4).astype(kind)
    return Volume(voxels, affine, (SourceSlice("2.25.1", "2.25.2", 1),) * 2)


@pytest.mark.parametrize("kind", [np.int16, np.float32])
def test_the_array_and_its_geometry_come_back_exactly(tmp_path, kind):
    volume = _volume(kind)
    prepared = prepare(volume, tmp_path / "work" / "k")
    assert load_prepared(tmp_path / "work" / "k") == prepared
    loaded = np.load(prepared.path, mmap_mode="r")
    assert loaded.dtype == kind
    assert loaded.flags.c_contiguous
    np.testing.assert_array_equal(loaded, volume.voxels)
    affine = np.array(prepared.affine_lps)
    np.testing.assert_array_equal(affine[:3, :3], volume.affine_lps[:3, :3])
    np.testing.assert_array_equal(affine[3], [0, 0, 0, 1])
    assert prepared.shape == (2, 3, 4)


def test_where_the_patient_lay_on_the_table_does_not_go_through(tmp_path):
    here, there = _volume(), _volume()
    there.affine_lps[:3, 3] = [-217.48046875, -381.2, 1193.7503]
    first = prepare(here, tmp_path / "a")
    assert prepare(there, tmp_path / "b").affine_lps == first.affine_lps
    middle = np.array(first.affine_lps) @ [0.5, 1.0, 1.5, 1.0]
    np.testing.assert_allclose(middle, [0, 0, 0, 1], atol=1e-12)


def test_no_zero_has_a_sign(tmp_path):
    affine = np.diag([-1.0, 1.0, -2.0, 1.0]) @ np.eye(4)
    affine[0, 1] = -0.0
    prepared = prepare(Volume(np.zeros((1, 1, 1), np.int16), affine, ()), tmp_path)
    assert "-0.0" not in (prepared.path.parent / "geometry.json").read_text()


def test_what_was_permitted_goes_through_and_nothing_else_can(tmp_path):
    permitted = Permitted({"PatientAge": 63, "ScanningSequence": ("GR", "IR")})
    prepared = prepare(_volume(), tmp_path / "k", permitted)
    assert load_prepared(tmp_path / "k") == prepared
    assert prepared.attributes == permitted.values
    for forged in ({"PatientName": "Quill"}, {"PatientAge": 97}, {"Manufacturer": "for Quill"}):
        with pytest.raises(ValueError, match="may not go"):
            prepare(_volume(), tmp_path / "f", Permitted(forged))
        assert not (tmp_path / "f").exists()
        (tmp_path / "k" / "attributes.json").write_text(json.dumps(forged))
        with pytest.raises(FileNotFoundError):
            load_prepared(tmp_path / "k")


def test_the_times_of_its_files_are_those_of_their_writing(tmp_path):
    before = time.time() - 2
    folder = prepare(_volume(), tmp_path / "k", None, "CT").path.parent
    found = [entry.stat() for entry in [folder, *folder.rglob("*")]]
    assert min(min(item.st_mtime, item.st_ctime) for item in found) >= before
    assert not any(os.listxattr(path) for path in folder.rglob("*"))


def test_a_view_takes_none_of_its_base_along(tmp_path):
    base = np.full((4, 6, 8), 7777, np.int16)
    base[::2, :3, :4] = 1
    volume = Volume(base[::2, :3, :4], np.eye(4), ())
    prepared = prepare(volume, tmp_path)
    assert prepared.path.read_bytes().count(np.int16(7777).tobytes()) == 0


def test_doing_it_again_gives_the_same_bytes(tmp_path):
    first = prepare(_volume(), tmp_path / "a").path.parent
    again = prepare(_volume(), tmp_path / "a").path.parent
    other = prepare(_volume(), tmp_path / "b").path.parent
    assert first == again
    for path in first.iterdir():
        assert path.read_bytes() == (other / path.name).read_bytes()


def test_nothing_of_the_patient_goes_through(tmp_path):
    secrets = {
        "PatientName": "Zebedee^Quill",
        "PatientID": "MRN-8842317",
        "StudyDate": "20240229",
        "SeriesDescription": "for Dr Quill",
        "AccessionNumber": "ACC5551",
    }
    spool = tmp_path / "spool"
    spool.mkdir()
    instances = store_all(make_series(5, **secrets), spool)
    prepared = prepare(read_volume(instances, spool), tmp_path / "work" / "k3y")
    folder = prepared.path.parent
    names = ["attributes.json", "geometry.json", "volume.npy"]
    assert sorted(path.name for path in folder.iterdir()) == names
    leaked = b"".join(path.name.encode() + path.read_bytes() for path in folder.iterdir())
    known = [*secrets.values(), "Zebedee", "2.25.100", "2.25.2000", str(spool)]
    assert [secret for secret in known if secret.encode() in leaked] == []
    # The control: the same search finds them in what was received.
    received = b"".join(path.read_bytes() for path in spool.iterdir())
    assert all(secret.encode() in received for secret in secrets.values())


def test_only_the_owner_may_look(tmp_path):
    prepared = prepare(_volume(), tmp_path / "k")
    assert prepared.path.parent.stat().st_mode & 0o077 == 0
    assert prepared.path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "volume",
    [
        Volume(np.zeros((2, 3), np.int16), np.eye(4), ()),
        Volume(np.zeros((2, 3, 4), np.int64), np.eye(4), ()),
        Volume(np.empty((1, 1, 1), object), np.eye(4), ()),
        Volume(np.zeros((2, 3, 4), np.int16), np.eye(3), ()),
        Volume(np.zeros((2, 3, 4), np.int16), np.full((4, 4), np.nan), ()),
    ],
)
def test_what_is_not_a_volume_stays_out(tmp_path, volume):
    with pytest.raises(PixelDataError):
        prepare(volume, tmp_path / "k")
    assert not (tmp_path / "k").exists()


def test_half_of_it_does_not_count(tmp_path):
    prepared = prepare(_volume(), tmp_path)
    prepared.path.unlink()
    with pytest.raises(FileNotFoundError):
        load_prepared(tmp_path)
    with pytest.raises(FileNotFoundError):
        load_prepared(tmp_path / "never")


@pytest.mark.parametrize("name", ["geometry.json", "attributes.json"])
@pytest.mark.parametrize("content", [b"", b"\0\0\0", b"[1]", b'{"shape": [1, 2]}'])
def test_a_damaged_file_counts_as_none(tmp_path, name, content):
    prepare(_volume(), tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileNotFoundError):
        load_prepared(tmp_path)


def test_a_slice_that_is_missing_among_the_files_counts_as_none(tmp_path):
    prepared = prepare(_volume(), tmp_path, None, "MR")
    assert load_prepared(tmp_path) == prepared
    (prepared.images_folder / "0002.dcm").unlink()
    with pytest.raises(FileNotFoundError):
        load_prepared(tmp_path)


def test_files_of_an_earlier_try_do_not_stay(tmp_path):
    assert prepare(_volume(), tmp_path, None, "MR").images_folder
    assert prepare(_volume(), tmp_path).images_folder is None
    assert not (tmp_path / "images").exists()


def test_files_are_written_of_ct_and_mr_alone(tmp_path):
    with pytest.raises(PixelDataError, match="CT and MR"):
        prepare(_volume(), tmp_path / "k", None, "unknown")
    assert not (tmp_path / "k").exists()
