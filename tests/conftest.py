"""What several test modules need: ports, programs, a PACS, data and acquisitions.

A fixture that needs something this machine does not have skips its test and names the package or
the data set that is missing.
"""

from __future__ import annotations

import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from deploy.demo import pacs as demo_pacs
from deploy.demo.head import find_head
from deploy.demo.series import affine_from_axes, write_series
from tests.certificates import Certificates, make_certificates

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"

# Row and column directions in the patient frame (LPS) of each kind of acquisition.
PLANES = {
    "axial": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
    "sagittal": ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0)),
    "coronal": ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0)),
    "oblique": ((0.96, 0.2, -0.195959179), (-0.2, 0.97959184, 0.0199933)),
}


@dataclass(frozen=True)
class Acquisition:
    """A series that was written, and what was written into it: ``(slice, row, column)`` voxels."""

    folder: Path
    paths: list[Path]
    voxels: npt.NDArray[np.int16]
    affine_lps: npt.NDArray[np.float64]


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """``free_port()`` is a loopback port that nobody listens on."""
    return demo_pacs.free_port


@pytest.fixture(scope="session")
def orthanc(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., demo_pacs.OrthancPacs]]:
    """``orthanc(callers=("SECONDREAD",))`` starts a real Orthanc that these titles may store in."""
    started: list[demo_pacs.OrthancPacs] = []

    def start(callers: tuple[str, ...] = ("SECONDREAD",)) -> demo_pacs.OrthancPacs:
        program = demo_pacs.orthanc_program()
        if program is None:
            pytest.skip("no Orthanc: install the package orthanc")
        server = demo_pacs.OrthancPacs(program, tmp_path_factory.mktemp("orthanc"), callers)
        started.append(server)
        return server

    yield start
    for server in started:
        server.close()


@pytest.fixture
def small_pacs(tmp_path: Path) -> Iterator[Callable[..., demo_pacs.SmallPacs]]:
    """``small_pacs(callers=("SECONDREAD",))`` starts the demo's own storage SCP in this process."""
    started: list[demo_pacs.SmallPacs] = []

    def start(callers: tuple[str, ...] = ("SECONDREAD",)) -> demo_pacs.SmallPacs:
        server = demo_pacs.SmallPacs(tmp_path / f"pacs{len(started)}", callers)
        started.append(server)
        return server

    yield start
    for server in started:
        server.close()


@pytest.fixture(scope="session")
def dcmtk() -> Callable[[str], str]:
    """``dcmtk("storescu")`` is the path of one of DCMTK's programs."""

    def find(name: str) -> str:
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"no {name}: install the package dcmtk")
        return found

    return find


@pytest.fixture(scope="session")
def installed_program() -> Callable[[str, str], str]:
    """``installed_program("dciodvfy", "dicom3tools")`` is a program of a Python package."""

    def find(name: str, package: str) -> str:
        beside = Path(sys.executable).parent / name
        if beside.is_file():
            return str(beside)
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"no {name}: install the package {package}")
        return found

    return find


@pytest.fixture(scope="session")
def shared_data(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``shared_data(name)`` is a folder with a set's files, its archives unpacked."""
    ready: dict[str, Path] = {}

    def find(name: str) -> Path:
        source = SHARED_DATA / name
        if not source.is_dir():
            pytest.skip(f"the data set '{name}' is not beside the repository")
        if name not in ready:
            archives = sorted(source.glob("*.tar.xz"))
            if not archives:
                ready[name] = source
            else:
                folder = tmp_path_factory.mktemp(name)
                for archive in archives:
                    with tarfile.open(archive) as content:
                        content.extractall(folder, filter="data")
                ready[name] = folder
        return ready[name]

    return find


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A CA and certificates of all kinds, as PEM files that a test may read but not change."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def head_series(tmp_path: Path) -> Callable[..., Acquisition]:
    """``head_series(plane="axial", size=(24, 32, 32), **fields)`` writes a small made-up head.

    An ellipsoid with an asymmetric inner part, so that a flip or a swap of axes is seen; ``fields``
    are those of ``deploy.demo.series.Header``.
    """
    written = 0

    def write(
        plane: str = "axial",
        size: tuple[int, int, int] = (24, 32, 32),
        spacing_mm: tuple[float, float, float] = (5.0, 5.5, 6.0),
        **fields: str,
    ) -> Acquisition:
        nonlocal written
        written += 1
        return make_head(tmp_path / f"series{written}", plane, size, spacing_mm, **fields)

    return write


def make_head(
    folder: Path,
    plane: str = "axial",
    size: tuple[int, int, int] = (24, 32, 32),
    spacing_mm: tuple[float, float, float] = (5.0, 5.5, 6.0),
    **fields: str,
) -> Acquisition:
    """What ``head_series`` writes."""
    row_direction, column_direction = PLANES[plane]
    affine = affine_from_axes(row_direction, column_direction, spacing_mm)
    centre = affine[:3, :3] @ ((np.array(size) - 1) / 2)
    affine[:3, 3] = -centre
    voxels = _head(size, affine)
    fields.setdefault("seed", f"head {plane} {size} {spacing_mm}")
    return Acquisition(folder, write_series(voxels, affine, folder, **fields), voxels, affine)


@pytest.fixture(scope="session")
def real_head(tmp_path_factory: pytest.TempPathFactory) -> Acquisition:
    """The demo's own head: Debian's ch2 where it is installed, else nilearn's MNI152."""
    head = find_head()
    folder = tmp_path_factory.mktemp("head")
    return Acquisition(folder, head.write(folder), head.voxels, head.affine_lps)


def _head(size: tuple[int, int, int], affine: npt.NDArray[np.float64]) -> npt.NDArray[np.int16]:
    """A head around the origin of the patient frame: half axes 70, 90 and 80 mm (L, P, S)."""
    grid = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), axis=-1)
    at_mm = grid @ affine[:3, :3].T + affine[:3, 3]
    radius = np.linalg.norm(at_mm / (70.0, 90.0, 80.0), axis=-1)
    inner = np.linalg.norm((at_mm - (25.0, -20.0, 30.0)) / (15.0, 25.0, 20.0), axis=-1)
    noise = np.random.default_rng(7).integers(0, 20, size)
    return (np.where(radius < 1, 500, 0) + np.where(inner < 1, 300, 0) + noise).astype(np.int16)
