"""Compressed pixels, against other readers, and what happens when a codec misbehaves."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from secondread.assembly.decoding import DecoderPool, DecodingLimits
from secondread.dicom.headers import read_slice
from secondread.dicom.pixels import StoredPlane, read_voxels
from secondread.errors import PixelDataError
from tests.slices import make_slice, store

RNG = np.random.default_rng(11)
LOSSLESS = (JPEG2000Lossless, JPEGLSLossless, RLELossless)


def planes_of(*paths: Path) -> list[StoredPlane]:
    return [
        StoredPlane(path, header.pixels, plane)
        for path in paths
        for header in [read_slice(path)]
        for plane in header.planes
    ]


def compress(path: Path, syntax: UID, **options) -> Path:
    dataset = dcmread(path)
    # GDCM, which pydicom would try first, aborts the whole process on some images.
    plugin = "pyjpegls" if "JPEG-LS" in syntax.name else "pylibjpeg"
    dataset.compress(syntax, generate_instance_uid=False, encoding_plugin=plugin, **options)
    dataset.save_as(path)
    return path


def smooth(shape: tuple[int, int], bits: int, signed: bool, kind: str) -> np.ndarray:
    """Something like an image that uses the whole range."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    values = np.sin(rows / 7) * np.cos(columns / 5) + RNG.normal(0, 0.02, shape)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    values = low + (values + 1.2) / 2.4 * (high - low)
    values[0, 0], values[-1, -1] = low, high
    return np.clip(np.round(values), low, high).astype(kind)


def compressed_slice(
    folder: Path, syntax: UID, number: int = 1, shape: tuple[int, int] = (33, 47)
) -> tuple[Path, np.ndarray]:
    pixels = smooth(shape, 12, False, "u2")
    dataset = make_slice(pixels, (0, 0, number), number, BitsStored=12, HighBit=11)
    return compress(store(dataset, folder), syntax), pixels


@pytest.fixture
def pool() -> Iterator[DecoderPool]:
    with_limits = DecoderPool(2)
    yield with_limits
    with_limits.close()


@pytest.fixture
def hasty() -> Iterator[DecoderPool]:
    """One process that has a second for each object."""
    limits = DecodingLimits(deadline_floor_s=1.0, deadline_s_per_megapixel=0.0)
    with_limits = DecoderPool(1, limits)
    yield with_limits
    with_limits.close()


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda uid: uid.name)
@pytest.mark.parametrize(
    ("kind", "bits"),
    [("u1", 8), ("i1", 8), ("u2", 10), ("u2", 12), ("i2", 12), ("u2", 16), ("i2", 16), ("i2", 9)],
)
def test_lossless_syntaxes_give_back_every_value(tmp_path, syntax, kind, bits):
    pixels = smooth((33, 47), bits, kind[0] == "i", kind)
    dataset = make_slice(pixels, (0, 0, 0), BitsStored=bits, HighBit=bits - 1)
    path = compress(store(dataset, tmp_path), syntax)
    np.testing.assert_array_equal(read_voxels(planes_of(path))[0], pixels)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_lossy_values_are_those_of_another_reader(tmp_path, bits):
    pixels = smooth((33, 47), bits, False, "u2" if bits > 8 else "u1")
    dataset = make_slice(pixels, (0, 0, 0), BitsStored=bits, HighBit=bits - 1)
    path = compress(store(dataset, tmp_path), JPEGLSNearLossless, jls_error=3)
    voxels = read_voxels(planes_of(path))[0]
    np.testing.assert_array_equal(voxels, dcmread(path).pixel_array)
    assert 0 < np.abs(voxels - pixels.astype(int)).max() <= 3


@pytest.mark.skipif(not shutil.which("dcmcjpeg"), reason="dcmcjpeg is not installed")
@pytest.mark.parametrize(
    ("options", "exact"),
    [(["+e1"], True), (["+el"], True), (["+ee"], False), (["+eb"], False)],
    ids=["lossless SV1", "lossless", "extended, 12 bit", "baseline"],
)
def test_jpeg_values_are_those_of_dcmtk(tmp_path, options, exact):
    pixels = smooth((48, 64), 12, False, "u2")
    dataset = make_slice(pixels, (0, 0, 0), BitsStored=12, HighBit=11)
    # dcmtk scales an image to 8 bits for the baseline process.
    packed, plain = tmp_path / "packed.dcm", tmp_path / "plain.dcm"
    subprocess.run(["dcmcjpeg", *options, store(dataset, tmp_path), packed], check=True)
    subprocess.run(["dcmdjpeg", packed, plain], check=True)
    voxels = read_voxels(planes_of(packed))[0]
    theirs = read_voxels(planes_of(plain))[0]
    if exact:
        np.testing.assert_array_equal(voxels, pixels)
        np.testing.assert_array_equal(voxels, theirs)
    else:
        # Two inverse transforms may round differently (ISO/IEC 10918-2 allows it).
        assert np.abs(voxels - theirs).max() <= 1


def test_frames_that_are_deflated_one_by_one_are_read(tmp_path):
    pixels = RNG.integers(-900, 900, (2, 5, 7)).astype("i2")
    frames = []
    for frame in pixels:
        machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        frames.append(machine.compress(frame.tobytes()) + machine.flush())
    dataset = make_slice(pixels[0], (0, 0, 0), NumberOfFrames=2)
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].is_undefined_length = True
    # pydicom does not know this transfer syntax yet.
    planes = [
        replace(item, layout=replace(item.layout, transfer_syntax_uid="1.2.840.10008.1.2.8.1"))
        for item in _numbered(planes_of(store(dataset, tmp_path, RLELossless)))
    ]
    np.testing.assert_array_equal(read_voxels(planes), pixels)


def _numbered(planes: list[StoredPlane]) -> list[StoredPlane]:
    return [
        replace(item, plane=replace(item.plane, frame=number))
        for number, item in enumerate(planes, 1)
    ]


@pytest.mark.parametrize("with_table", [True, False])
@pytest.mark.parametrize("fragments", [1, 3])
def test_frames_are_found_with_and_without_an_offset_table(tmp_path, pool, with_table, fragments):
    pixels = np.stack([smooth((20, 30), 12, False, "u2") for _ in range(11)])
    streams = []
    for number, frame in enumerate(pixels):
        path = store(make_slice(frame, (0, 0, 0), number, BitsStored=12, HighBit=11), tmp_path)
        packed = dcmread(compress(path, JPEGLSLossless))
        streams += list(generate_frames(packed.PixelData, number_of_frames=1))
    dataset = make_slice(pixels[0], (0, 0, 0), 99, NumberOfFrames=11, BitsStored=12, HighBit=11)
    dataset.PixelData = encapsulate(streams, fragments_per_frame=fragments, has_bot=with_table)
    dataset["PixelData"].is_undefined_length = True
    planes = _numbered(planes_of(store(dataset, tmp_path, JPEGLSLossless)))
    np.testing.assert_array_equal(read_voxels(planes, pool), pixels)
    np.testing.assert_array_equal(read_voxels(planes[::-1]), pixels[::-1])


@pytest.mark.parametrize(
    "syntax", [*LOSSLESS, DeflatedExplicitVRLittleEndian], ids=lambda uid: uid.name
)
def test_processes_give_the_values_that_this_process_gives(tmp_path, pool, syntax):
    paths = []
    for number in range(1, 8):
        pixels = smooth((40, 50), 12, False, "u2")
        dataset = make_slice(
            pixels, (0, 0, number), number, BitsStored=12, HighBit=11, RescaleIntercept="-1024"
        )
        if syntax == DeflatedExplicitVRLittleEndian:
            paths.append(store(dataset, tmp_path, syntax))
        else:
            paths.append(compress(store(dataset, tmp_path), syntax))
    voxels = read_voxels(planes_of(*paths), pool)
    assert voxels.dtype == np.int16
    np.testing.assert_array_equal(voxels, read_voxels(planes_of(*paths)))
    np.testing.assert_array_equal(voxels[3], dcmread(paths[3]).pixel_array.astype(int) - 1024)


def test_compressed_and_native_slices_meet_in_one_volume(tmp_path, pool):
    packed, first = compressed_slice(tmp_path, JPEGLSLossless, 1)
    second = smooth(first.shape, 12, True, "i2")
    native = store(make_slice(second, (0, 0, 2), 2), tmp_path)
    voxels = read_voxels(planes_of(packed, native), pool)
    np.testing.assert_array_equal(voxels, np.stack([first.astype(int), second]))


def test_native_pixels_never_go_through_processes(tmp_path, pool):
    path = store(make_slice(smooth((8, 9), 12, False, "u2"), (0, 0, 0)), tmp_path)
    read_voxels(planes_of(path), pool)
    assert pool.pids == ()


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda uid: uid.name)
@pytest.mark.parametrize("damage", ["shortened", "garbage"])
def test_a_damaged_stream_is_refused_and_the_next_one_read(tmp_path, pool, syntax, damage):
    path, pixels = compressed_slice(tmp_path, syntax, 1)
    good, _ = compressed_slice(tmp_path, syntax, 2)
    dataset = dcmread(path)
    (stream,) = generate_frames(dataset.PixelData, number_of_frames=1)
    spoilt = stream[: len(stream) // 3] if damage == "shortened" else bytes(len(stream))
    dataset.PixelData = encapsulate([spoilt])
    dataset.save_as(path)
    with pytest.raises(PixelDataError) as caught:
        read_voxels(planes_of(path), pool)
    assert caught.value.outcome in {"undecodable-pixels", "truncated-pixels"}
    assert read_voxels(planes_of(good), pool).shape == (1, *pixels.shape)


@pytest.mark.skipif(not shutil.which("dcmcjpeg"), reason="dcmcjpeg is not installed")
@pytest.mark.parametrize("option", ["+e1", "+ee", "+eb"])
@pytest.mark.parametrize("damage", ["no end", "hole"])
def test_a_jpeg_image_with_a_part_missing_is_refused(tmp_path, pool, option, damage):
    pixels = smooth((48, 64), 12, False, "u2")
    dataset = make_slice(pixels, (0, 0, 0), BitsStored=12, HighBit=11)
    packed = tmp_path / "packed.dcm"
    subprocess.run(["dcmcjpeg", option, store(dataset, tmp_path), packed], check=True)
    dataset = dcmread(packed)
    (stream,) = generate_frames(dataset.PixelData, number_of_frames=1)
    half = stream[: len(stream) * 2 // 3]
    dataset.PixelData = encapsulate([half if damage == "no end" else half + b"\xff\xd9"])
    dataset.save_as(packed)
    with pytest.raises(PixelDataError) as caught:
        read_voxels(planes_of(packed), pool)
    wanted = "truncated-pixels" if damage == "no end" else "undecodable-pixels"
    assert caught.value.outcome == wanted


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless], ids=lambda uid: uid.name)
@pytest.mark.parametrize(("keyword", "value"), [("Rows", 32), ("Columns", 94), ("Rows", 9000)])
def test_a_stream_of_another_size_than_the_header_says_is_refused(tmp_path, syntax, keyword, value):
    path, _ = compressed_slice(tmp_path, syntax)
    dataset = dcmread(path)
    setattr(dataset, keyword, value)
    dataset.save_as(path)
    with pytest.raises(PixelDataError, match="where its header says") as caught:
        read_voxels(planes_of(path))
    assert caught.value.outcome == "undecodable-pixels"


def test_a_process_that_somebody_kills_is_replaced_and_its_work_done_again(tmp_path, pool):
    paths, wanted = zip(
        *(compressed_slice(tmp_path, JPEGLSLossless, n) for n in range(1, 5)), strict=True
    )
    read_voxels(planes_of(*paths), pool)
    before = pool.pids
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    np.testing.assert_array_equal(read_voxels(planes_of(*paths), pool), np.stack(wanted))
    assert not set(before) & set(pool.pids)


def test_an_object_on_which_two_processes_die_is_refused(tmp_path, pool):
    noise = RNG.integers(0, 2**16, (2048, 2048)).astype("u2")
    slow = compress(store(make_slice(noise, (0, 0, 1), 1), tmp_path), JPEG2000Lossless)
    good, wanted = compressed_slice(tmp_path, JPEGLSLossless, 2)
    done = threading.Event()

    def kill_all() -> None:
        killed = set()
        while not done.wait(0.01):
            for pid in set(pool.pids) - killed:
                if _is_ready(pid):
                    killed.add(pid)
                    os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_all)
    killer.start()
    try:
        with pytest.raises(PixelDataError) as caught:
            read_voxels(planes_of(slow), pool)
    finally:
        done.set()
        killer.join()
    assert caught.value.outcome == "decoder-crashed"
    np.testing.assert_array_equal(read_voxels(planes_of(good), pool)[0], wanted)


def _is_ready(pid: int) -> bool:
    """Whether a process has set its limits, which is the last thing before its first request."""
    try:
        return resource.prlimit(pid, resource.RLIMIT_DATA)[0] != resource.RLIM_INFINITY
    except ProcessLookupError:
        return False


def test_an_object_that_takes_too_long_is_refused_and_its_process_ended(tmp_path, hasty):
    path, wanted = compressed_slice(tmp_path, JPEGLSLossless)
    read_voxels(planes_of(path), hasty)
    (pid,) = hasty.pids
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(PixelDataError, match="1 s") as caught:
        read_voxels(planes_of(path), hasty)
    assert caught.value.outcome == "decoder-timeout"
    assert hasty.pids == ()
    np.testing.assert_array_equal(read_voxels(planes_of(path), hasty)[0], wanted)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless], ids=lambda uid: uid.name)
def test_an_object_that_takes_too_much_memory_is_refused(tmp_path, syntax):
    # A frame of one value is a few hundred bytes, and 72 MB when it is decoded.
    path = store(make_slice(np.zeros((6000, 6000), "u2"), (0, 0, 1), 1), tmp_path)
    compress(path, syntax)
    good, wanted = compressed_slice(tmp_path, syntax, 2)
    pool = DecoderPool(1, DecodingLimits(memory_bytes=48 << 20))
    try:
        with pytest.raises(PixelDataError) as caught:
            read_voxels(planes_of(path), pool)
        assert caught.value.outcome == "decoder-memory"
        np.testing.assert_array_equal(read_voxels(planes_of(good), pool)[0], wanted)
    finally:
        pool.close()


def test_a_deflated_bomb_is_refused(tmp_path):
    dataset = make_slice(np.zeros((8, 8), "u2"), (0, 0, 1))
    dataset.add_new(0x00091010, "OB", bytes(200_000_000))
    path = store(dataset, tmp_path, DeflatedExplicitVRLittleEndian)
    assert path.stat().st_size < 300_000
    planes = planes_of(path)
    pool = DecoderPool(1, DecodingLimits(memory_bytes=64 << 20))
    try:
        with pytest.raises(PixelDataError) as caught:
            read_voxels(planes, pool)
    finally:
        pool.close()
    assert caught.value.outcome == "decoder-memory"


_PARENT = """
import sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from secondread.assembly.decoding import DecoderPool
from secondread.dicom.headers import read_slice
from secondread.dicom.pixels import StoredPlane, read_voxels
pool = DecoderPool(2)
header = read_slice(Path({path!r}))
plane = StoredPlane(Path({path!r}), header.pixels, header.planes[0])
read_voxels([plane, plane], pool)
print(*pool.pids, flush=True)
time.sleep(60)
"""


def test_the_processes_end_with_their_parent_even_when_they_hang(tmp_path):
    path, _ = compressed_slice(tmp_path, JPEGLSLossless)
    root = str(Path(__file__).resolve().parents[2])
    script = _PARENT.format(root=root, path=str(path))
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent:
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert pids
        os.kill(pids[0], signal.SIGSTOP)
        parent.kill()
    until = time.monotonic() + 20
    while any(_is_alive(pid) for pid in pids):
        assert time.monotonic() < until
        time.sleep(0.02)


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    # Whoever takes over an orphan may be slow to ask for its exit status.
    return state != "Z"


def test_a_process_has_limits_and_knows_neither_ledger_nor_models(tmp_path, pool):
    path, _ = compressed_slice(tmp_path, JPEGLSLossless)
    read_voxels(planes_of(path), pool)
    (pid,) = pool.pids
    assert resource.prlimit(pid, resource.RLIMIT_FSIZE) == (0, 0)
    assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
    assert resource.prlimit(pid, resource.RLIMIT_DATA)[1] < 8 << 30
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    assert {item.partition(b"=")[0] for item in environment if item} == {
        *(b"PATH", b"LANG", b"OPENBLAS_NUM_THREADS")
    }
    code = (
        "import sys, secondread.assembly.decode_worker as worker; worker._import_codecs();"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    assert not {"sqlalchemy", "torch", "pynetdicom", "scipy"} & set(loaded.stdout.split())
