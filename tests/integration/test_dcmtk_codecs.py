"""Real images, compressed by DCMTK in every way that it knows, read by the node.

What is lossless gives back the image as it was; what is not, the values that DCMTK itself decodes.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from secondread.dicom.headers import read_slice
from secondread.dicom.pixels import StoredPlane, read_voxels
from tests.acceptance.cases import PLAIN
from tests.acceptance.odd_reference import values_of

LOSSLESS = {
    "JPEG Lossless SV1": ("dcmcjpeg", "+e1"),
    **{f"JPEG Lossless process 14 SV{n}": ("dcmcjpeg", "+el", "+sv", str(n)) for n in range(1, 8)},
    "JPEG Lossless fragmented without table": ("dcmcjpeg", "+e1", "+fs", "4", "-ot"),
    "JPEG-LS Lossless": ("dcmcjpls", "+el"),
    "JPEG-LS Lossless fragmented": ("dcmcjpls", "+el", "+fs", "4"),
    "RLE Lossless": ("dcmcrle",),
}
# The seven predictors of JPEG Lossless differ in a line of the codec.
CODINGS = [
    pytest.param(name, marks=pytest.mark.slow if name[-3:] in {"SV2", "SV3", "SV5", "SV6"} else ())
    for name in LOSSLESS
]
NEAR_LOSSLESS = "JPEG-LS Near-Lossless"
LOSSY = {
    "JPEG Baseline": ("dcmcjpeg", "+eb"),
    "JPEG Extended": ("dcmcjpeg", "+ee"),
    NEAR_LOSSLESS: ("dcmcjpls", "+en"),
}
IMAGES = {
    "signed, 16 bits": "wg04_ct_mr/CT1_UNC",
    "signed, whole range of 16 bits": "dcm4che/test16signed.dcm",
    "unsigned, 12 of 16 bits, rescaled by a fraction": "wg04_ct_mr/MR4_UNC",
    "signed, 14 of 16 bits": "pydicom_data/693_UNCI.dcm",
    "unsigned, 12 of 16 bits, an overlay above them": "dcm4che/ovly_p01.dcm",
    "unsigned, 8 bits": "pydicom_data/vlut_04.dcm",
    "MONOCHROME1": "dicomdirtests/77654033/CR1/6154",
}
FRAMES = "enhanced/BRTUM003"
# DCMTK does not compress these near-losslessly.
TOO_WIDE = {"signed, 16 bits", "signed, whole range of 16 bits", "signed, 14 of 16 bits"}


@pytest.fixture
def compress(dcmtk: Callable[[str], str], tmp_path: Path) -> Callable[..., Path]:
    """``compress(path, ("dcmcjpeg", "+e1"))`` is the file as that command compresses it."""

    def run(source: Path, command: tuple[str, ...]) -> Path:
        target = tmp_path / "compressed"
        program = [dcmtk(command[0]), *command[1:], "+un"]
        subprocess.run([*program, source, target], check=True, capture_output=True)
        return target

    return run


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("coding", CODINGS)
def test_lossless_compression_gives_back_the_image(shared_data, compress, image, coding):
    source = shared_data("odd_dicom") / "odd_dicom" / IMAGES[image]
    found = _voxels(compress(source, LOSSLESS[coding]))
    np.testing.assert_array_equal(found, _voxels(source))
    np.testing.assert_array_equal(found, values_of(source, PLAIN).astype(np.float32))


@pytest.mark.parametrize("coding", CODINGS)
def test_every_frame_comes_back_in_its_place(shared_data, compress, coding):
    source = shared_data("odd_dicom") / "odd_dicom" / FRAMES
    found = _voxels(compress(source, LOSSLESS[coding]))
    assert found.shape == (24, 256, 256)
    np.testing.assert_array_equal(found, values_of(source, PLAIN).astype(np.float32))


@pytest.mark.parametrize(
    ("coding", "image"),
    [(c, i) for c in LOSSY for i in IMAGES if c != NEAR_LOSSLESS or i not in TOO_WIDE],
)
def test_lossy_compression_reads_as_dcmtk_decodes_it(
    shared_data, compress, dcmtk, tmp_path, image, coding
):
    source = shared_data("odd_dicom") / "odd_dicom" / IMAGES[image]
    compressed = compress(source, LOSSY[coding])
    native = tmp_path / "native"
    program = dcmtk("dcmdjpls" if "LS" in coding else "dcmdjpeg")
    subprocess.run([program, "+te", compressed, native], check=True, capture_output=True)
    found = _voxels(compressed)
    np.testing.assert_array_equal(found, values_of(native, PLAIN).astype(np.float32))


def _voxels(path: Path) -> np.ndarray:
    header = read_slice(path)
    return read_voxels([StoredPlane(path, header.pixels, plane) for plane in header.planes])
