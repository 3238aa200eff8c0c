"""The demo's two kinds of PACS and its head, with a real sender."""

from __future__ import annotations

import subprocess

import numpy as np
import pydicom
import pytest

from deploy.demo.head import WHOLE_HEAD, template_head, whole_head


@pytest.fixture(params=["orthanc", "small_pacs"])
def pacs(request):
    return request.getfixturevalue(request.param)(callers=("SCANNER",))


def _store(storescu, pacs, paths, calling="SCANNER", called=None):
    command = [storescu, "-aet", calling, "-aec", called or pacs.ae_title]
    return subprocess.run(
        [*command, pacs.host, str(pacs.port), *map(str, paths)],
        capture_output=True,
        text=True,
        check=False,
        env={"TCP_NODELAY": "1"},
    )


def test_it_keeps_what_a_scanner_stores(pacs, dcmtk, head_series, tmp_path):
    made = head_series(size=(5, 16, 16))
    sent = _store(dcmtk("storescu"), pacs, made.paths)
    assert sent.returncode == 0, sent.stderr
    held = pacs.held()
    originals = [pydicom.dcmread(path) for path in made.paths]
    assert {one.sop_instance_uid for one in held} == {one.SOPInstanceUID for one in originals}
    assert {one.modality for one in held} == {"MR"}
    assert {one.study_instance_uid for one in held} == {originals[0].StudyInstanceUID}

    exported = pacs.export(tmp_path / "out")
    assert [path.name for path in exported] == [f"MR-{n:04d}.dcm" for n in range(1, 6)]
    for path, original in zip(exported, originals, strict=True):
        again = pydicom.dcmread(path)
        assert again == original


def test_it_takes_nothing_from_a_stranger(pacs, dcmtk, head_series):
    made = head_series(size=(2, 16, 16))
    assert _store(dcmtk("storescu"), pacs, made.paths, calling="STRANGER").returncode != 0
    assert _store(dcmtk("storescu"), pacs, made.paths, called="OTHER").returncode != 0
    stored = {one.sop_instance_uid for one in pacs.held()}
    assert not stored & {pydicom.dcmread(path).SOPInstanceUID for path in made.paths}


def test_closing_it_twice_is_no_error(small_pacs):
    server = small_pacs()
    server.close()
    server.close()


@pytest.mark.parametrize("source", ["ch2", "MNI152"])
def test_the_head_is_upright_and_its_left_is_left(source):
    if source == "ch2" and not WHOLE_HEAD.is_file():
        pytest.skip("no whole head: install the package mricron-data")
    head = whole_head() if source == "ch2" else template_head()
    assert head.voxels.dtype == np.int16
    assert 0 == head.voxels.min() < head.voxels.max() <= 1000
    # Both images are in MNI space, whose origin is the anterior commissure: around it there is
    # brain, and 30 mm above the head's top there is none.
    to_voxel = np.linalg.inv(head.affine_lps)
    inside = np.rint(to_voxel @ (20, 20, 10, 1)).astype(int)[:3]
    assert head.voxels[tuple(inside)] > 200
    top = np.rint(to_voxel @ (0, 0, 100, 1)).astype(int)[:3]
    assert head.voxels[tuple(top)] < 50
    # Slices run from left (+x in LPS) to right, rows downwards, columns backwards.
    assert np.allclose(head.affine_lps[:3, :3], [[-1, 0, 0], [0, 0, 1], [0, -1, 0]])
    assert head.affine_lps[0, 3] > 80
