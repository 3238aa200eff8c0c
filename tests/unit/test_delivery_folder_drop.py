"""Results in a folder: whole or not at all, never over another content, and said when not."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from secondread.delivery import folder_drop
from secondread.delivery.folder_drop import drop, mark_done
from secondread.domain.drop_folder import DropFolder, Layout
from secondread.errors import ConfigurationError, PeerRefusedError, PeerUnreachableError

SIZE_MIB = 2
DROPPING = """
import sys
from pathlib import Path
from secondread.delivery.folder_drop import drop
from secondread.domain.drop_folder import DropFolder
target = DropFolder("share", Path(sys.argv[1]))
for path in sys.argv[2:]:
    drop(Path(path), target)
    print(flush=True)
"""


@pytest.fixture
def paths(head_series: Callable[..., Any]) -> list[Path]:
    return list(head_series(size=(3, 8, 8)).paths)


@pytest.fixture
def share(tmp_path: Path) -> Path:
    folder = tmp_path / "share"
    folder.mkdir()
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_objects_lie_under_study_series_and_instance(paths: list[Path], share: Path) -> None:
    target = DropFolder("share", share)
    dropped = [drop(path, target) for path in paths]
    for path, relative in zip(paths, dropped, strict=True):
        header = dcmread(path)
        assert relative.parts == (
            header.StudyInstanceUID,
            header.SeriesInstanceUID,
            f"{header.SOPInstanceUID}.dcm",
        )
        assert (share / relative).read_bytes() == path.read_bytes()
    assert len(files_of(share)) == len(paths)


def test_flat_layout_has_no_folders(paths: list[Path], share: Path) -> None:
    target = DropFolder("share", share, Layout.FLAT)
    assert [drop(path, target) for path in paths] == [
        Path(f"{dcmread(path).SOPInstanceUID}.dcm") for path in paths
    ]
    assert {path.parent for path in files_of(share)} == {share}


def test_same_content_is_done_and_not_written_again(paths: list[Path], share: Path) -> None:
    target = DropFolder("share", share)
    place = share / drop(paths[0], target)
    before = place.stat()
    drop(paths[0], target)
    assert (place.stat().st_ino, place.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("change", [b"", b"?", b"longer"])
def test_other_content_is_never_overwritten(paths: list[Path], share: Path, change: bytes) -> None:
    target = DropFolder("share", share, Layout.FLAT)
    place = share / drop(paths[0], target)
    whole = paths[0].read_bytes()
    other = whole[:-6] + change
    place.write_bytes(other)
    with pytest.raises(PeerRefusedError, match="not overwritten") as raised:
        drop(paths[0], target)
    assert place.read_bytes() == other
    assert files_of(share) == [place]
    assert place.stem not in str(raised.value)


def test_folder_or_link_under_the_name_is_left_alone(paths: list[Path], share: Path) -> None:
    target = DropFolder("share", share, Layout.FLAT)
    first, second = (share / f"{dcmread(path).SOPInstanceUID}.dcm" for path in paths[:2])
    first.mkdir()
    second.symlink_to(share / "elsewhere")
    for path in paths[:2]:
        with pytest.raises((PeerRefusedError, PeerUnreachableError)):
            drop(path, target)
    assert files_of(share) == []


def test_what_a_killed_node_left_behind_is_replaced(paths: list[Path], share: Path) -> None:
    target = DropFolder("share", share, Layout.FLAT)
    place = share / f"{dcmread(paths[0]).SOPInstanceUID}.dcm"
    partial = place.with_name(f".{place.name}.part")
    partial.write_bytes(b"half")
    drop(paths[0], target)
    assert files_of(share) == [place]
    os.link(place, partial)
    drop(paths[0], target)
    assert files_of(share) == [place]


def test_killed_in_the_middle_leaves_whole_files_alone(
    head_series: Callable[..., Any], share: Path
) -> None:
    paths = head_series(size=(12, 8, 8)).paths
    for path in paths:
        path.write_bytes(path.read_bytes() + bytes(3 << 20))
    contents = {path.read_bytes() for path in paths}
    for pause_s in (0.0, 0.01, 0.03):
        command = [sys.executable, "-c", DROPPING, str(share), *map(str, paths)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(pause_s)
            child.kill()
        seen = [path for path in files_of(share) if not path.name.startswith(".")]
        assert all(path.read_bytes() in contents for path in seen)
    target = DropFolder("share", share)
    dropped = [share / drop(path, target) for path in paths]
    assert files_of(share) == sorted(dropped)
    assert {path.read_bytes() for path in dropped} == contents


def test_link_in_the_place_of_the_temporary_file_is_not_followed(
    paths: list[Path], share: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    name = f".{dcmread(paths[0]).SOPInstanceUID}.dcm.part"
    (share / name).symlink_to(victim)
    drop(paths[0], DropFolder("share", share, Layout.FLAT))
    assert victim.read_bytes() == b"precious"


@pytest.mark.parametrize("renames", [True, False])
def test_file_systems_without_links_get_a_rename(
    paths: list[Path], share: Path, monkeypatch: pytest.MonkeyPatch, renames: bool
) -> None:
    def cannot(*_: Any) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", cannot)
    if not renames:
        monkeypatch.setattr(folder_drop, "_rename_to_new", cannot)
    target = DropFolder("share", share, Layout.FLAT)
    place = share / drop(paths[0], target)
    assert files_of(share) == [place]
    assert place.read_bytes() == paths[0].read_bytes()
    place.write_bytes(b"other")
    with pytest.raises(PeerRefusedError):
        drop(paths[0], target)
    assert place.read_bytes() == b"other"


@pytest.mark.parametrize("links", [True, False])
def test_who_comes_between_the_look_and_the_name_is_not_overwritten(
    paths: list[Path], share: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def come_between(partial: Path, place: Path) -> None:
        place.write_bytes(b"another's")
        if not links:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        link(partial, place)

    link = os.link
    monkeypatch.setattr(os, "link", come_between)
    with pytest.raises(PeerRefusedError, match="not overwritten"):
        drop(paths[0], DropFolder("share", share, Layout.FLAT))
    (place,) = files_of(share)
    assert place.read_bytes() == b"another's"


def test_two_that_drop_one_content_leave_one_file(paths: list[Path], share: Path) -> None:
    errors: list[Exception] = []

    def work() -> None:
        for path in paths:
            try:
                drop(path, target)
            except PeerUnreachableError as error:  # the other took the temporary file away
                errors.append(error)

    target = DropFolder("share", share, Layout.FLAT)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    work()
    assert {path.read_bytes() for path in files_of(share)} == {p.read_bytes() for p in paths}
    assert all(not path.name.startswith(".") for path in files_of(share))


def test_share_that_is_not_mounted_is_not_filled(paths: list[Path], share: Path) -> None:
    target = DropFolder("share", share, marker="mounted.txt")
    with pytest.raises(PeerUnreachableError, match="mounted.txt") as raised:
        drop(paths[0], target)
    assert raised.value.retryable
    with pytest.raises(PeerUnreachableError):
        mark_done(target, "1.2", [])
    assert files_of(share) == []
    (share / "mounted.txt").touch()
    drop(paths[0], target)
    away = DropFolder("share", share / "away")
    with pytest.raises(PeerUnreachableError, match="not there"):
        drop(paths[0], away)
    assert not away.folder.exists()


def test_full_disk_is_said_and_leaves_nothing_half(paths: list[Path], small_disk: Path) -> None:
    target = DropFolder("share", small_disk, Layout.FLAT)
    ballast = small_disk / "ballast"
    with ballast.open("wb") as file:
        file.write(bytes((SIZE_MIB << 20) - 4096))
    large = paths[0]
    large.write_bytes(large.read_bytes() + bytes(64 * 1024))
    with pytest.raises(PeerUnreachableError, match="no space left"):
        drop(large, target)
    assert files_of(small_disk) == [ballast]
    ballast.unlink()
    assert (small_disk / drop(large, target)).read_bytes() == large.read_bytes()


def test_share_for_reading_only_is_said(paths: list[Path], small_disk: Path) -> None:
    remount = ["mount", "-o", "remount,ro", str(small_disk)]
    subprocess.run(remount, check=True, capture_output=True)
    with pytest.raises(PeerUnreachableError, match="reading only"):
        drop(paths[0], DropFolder("share", small_disk))


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "give it the right"),
        (errno.EDQUOT, "no space"),
        (errno.ESTALE, "mount the share again"),
        (errno.EIO, "cannot be written"),
    ],
)
def test_what_the_system_says_becomes_a_sentence(
    paths: list[Path], share: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(PeerUnreachableError, match=words) as raised:
        drop(paths[0], DropFolder("share", share))
    monkeypatch.undo()
    assert raised.value.retryable
    assert files_of(share) == []


def test_group_may_read_and_others_may_not(paths: list[Path], share: Path) -> None:
    place = share / drop(paths[0], DropFolder("share", share))
    assert stat.S_IMODE(place.stat().st_mode) == 0o640
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o750
    assert stat.S_IMODE(place.parent.parent.stat().st_mode) == 0o750


def test_done_is_marked_with_what_is_there(paths: list[Path], share: Path) -> None:
    target = DropFolder("share", share)
    study = str(dcmread(paths[0]).StudyInstanceUID)
    for count in (2, 3):
        dropped = [drop(path, target) for path in paths[:count]]
        marker = share / mark_done(target, study, dropped)
        assert marker.name == f"{study}.done"
        lines = marker.read_text().splitlines()
        assert len(lines) == count
        assert all((share / line).is_file() for line in lines)
    with pytest.raises(ValueError):
        mark_done(target, "../../etc/passwd", [])


def test_names_that_would_lead_out_of_the_folder_are_refused(
    paths: list[Path], share: Path
) -> None:
    content, uid = paths[0].read_bytes(), str(dcmread(paths[0]).StudyInstanceUID).encode()
    paths[0].write_bytes(content.replace(uid, b"../../outside".ljust(len(uid), b"x")))
    with pytest.raises(PeerRefusedError, match="by UIDs"):
        drop(paths[0], DropFolder("share", share))
    paths[1].unlink()
    with pytest.raises(PeerRefusedError, match="not on disk"):
        drop(paths[1], DropFolder("share", share))
    assert list(share.iterdir()) == []


def test_settings_are_checked(share: Path) -> None:
    with pytest.raises(ConfigurationError, match="'/'"):
        DropFolder("share", Path("relative"))
    for marker in ("../up", "a/b", ".."):
        with pytest.raises(ConfigurationError, match="marker"):
            DropFolder("share", share, marker=marker)
