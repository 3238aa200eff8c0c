"""Packages that come as a folder or an archive, and those that leave as one."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from secondread.bundles import archive
from secondread.bundles.archive import export_package, import_package
from secondread.bundles.manifest import read_manifest, verify
from secondread.domain.packages import PackageTerms
from secondread.errors import ManifestError

SAMPLE = Path(__file__).resolve().parents[1] / "models" / "bright_head"
TERMS = PackageTerms()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with a file that its manifest names, a card, and something that is none of it."""
    folder = tmp_path / "package"
    shutil.copytree(SAMPLE, folder)
    weights = b"weights" * 1000
    (folder / "parts").mkdir()
    (folder / "parts" / "w.bin").write_bytes(weights)
    text = (folder / "model.toml").read_text()
    line = f'"parts/w.bin" = "{hashlib.sha256(weights).hexdigest()}"'
    (folder / "model.toml").write_text(text.replace("[files]", f"[files]\n{line}"))
    (folder / "README.md").write_text("# A card\n")
    (folder / "notes.txt").write_text("left out")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data" / "models"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def as_zip(folder: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w") as made:
        for name, content in contents(folder).items():
            made.writestr(name, content)


def as_tar(folder: Path, target: Path) -> None:
    with tarfile.open(target, "w:gz") as made:
        made.add(folder, "bright_head")


def as_folder(folder: Path, target: Path) -> None:
    shutil.copytree(folder, target)


@pytest.mark.parametrize("pack", [as_folder, as_zip, as_tar])
def test_a_package_is_put_under_its_id_and_version(
    package: Path, root: Path, tmp_path: Path, pack: Callable[[Path, Path], None]
) -> None:
    source = tmp_path / "sent"
    pack(package, source)
    before = os.umask(0o077)
    try:
        made = import_package(source, root, TERMS)
    finally:
        os.umask(before)
    assert made.new
    assert {oct(path.stat().st_mode & 0o777) for path in made.manifest.folder.rglob("*")} == {
        "0o755",
        "0o644",
    }
    assert made.manifest.folder == root / "bright_head-1.0.0"
    expected = contents(package)
    del expected["notes.txt"]
    assert contents(made.manifest.folder) == expected
    assert [path.name for path in root.iterdir()] == ["bright_head-1.0.0"]
    assert not import_package(source, root, TERMS).new


def test_an_export_is_the_same_each_time_and_comes_in_again(
    package: Path, root: Path, tmp_path: Path
) -> None:
    one, other = tmp_path / "one.zip", tmp_path / "other.zip"
    names = export_package(read_manifest(package), one)
    (package / "model.toml").touch()
    export_package(read_manifest(package), other)
    assert one.read_bytes() == other.read_bytes()
    assert names == ("README.md", "model.toml", "parts/w.bin")
    digest = read_manifest(package).digest
    assert import_package(one, root, TERMS, digest).manifest.digest == digest
    with pytest.raises(FileExistsError):
        export_package(read_manifest(package), one)


def test_another_package_of_the_same_name_is_never_overwritten(package: Path, root: Path) -> None:
    import_package(package, root, TERMS)
    before = contents(root)
    path = package / "model.toml"
    path.write_text(path.read_text().replace("high = 700.0", "high = 701.0"))
    with pytest.raises(ManifestError, match="another package that calls itself bright_head 1.0.0"):
        import_package(package, root, TERMS)
    assert contents(root) == before


def refused(source: Path, root: Path, match: str, digest: str = "") -> None:
    """It is refused, and nothing is left behind in the folder or beside it."""
    beside = set(root.parent.parent.iterdir()) | {root.parent}
    with pytest.raises(ManifestError, match=match):
        import_package(source, root, TERMS, digest)
    assert list(root.iterdir()) == []
    assert set(root.parent.parent.iterdir()) == beside


def test_the_wrong_digest(package: Path, root: Path) -> None:
    refused(package, root, "another package than the one that was asked for", "0" * 64)


def test_a_changed_file(package: Path, root: Path) -> None:
    (package / "parts" / "w.bin").write_bytes(b"other weights")
    refused(package, root, "has changed")


def test_a_wrong_signature(package: Path, root: Path) -> None:
    (package / "model.toml.sig").write_text("nonsense")
    refused(package, root, "is damaged")


def test_a_demanded_signature_that_is_not_there(package: Path, root: Path) -> None:
    with pytest.raises(ManifestError, match="has no signature"):
        import_package(package, root, PackageTerms(require_signature=True))
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "..\\evil", "c:evil"])
def test_an_archive_that_climbs_out(package: Path, root: Path, tmp_path: Path, name: str) -> None:
    source = tmp_path / "evil.zip"
    as_zip(package, source)
    with zipfile.ZipFile(source, "a") as made:
        entry = zipfile.ZipInfo()
        entry.filename = name
        made.writestr(entry, b"x")
    refused(source, root, "outside its folder")


def test_a_manifest_that_climbs_out(package: Path, root: Path) -> None:
    path = package / "model.toml"
    path.write_text(path.read_text().replace("[files]", f'[files]\n"../x" = "{"0" * 64}"'))
    (package.parent / "x").write_bytes(b"x")
    refused(package, root, "outside its folder")


def test_a_link_in_a_folder(package: Path, root: Path) -> None:
    (package / "README.md").unlink()
    (package / "README.md").symlink_to("/etc/hostname")
    refused(package, root, "is a link")


def test_a_linked_folder(package: Path, root: Path) -> None:
    shutil.move(package / "parts", package.parent / "elsewhere")
    (package / "parts").symlink_to(package.parent / "elsewhere")
    refused(package, root, "is a link")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_a_link_or_a_device_in_a_tar(
    package: Path, root: Path, tmp_path: Path, kind: bytes
) -> None:
    source = tmp_path / "sent.tar.gz"
    with tarfile.open(source, "w:gz") as made:
        made.add(package, ".")
        entry = tarfile.TarInfo("LICENSE")
        entry.type, entry.linkname = kind, "/etc/hostname"
        made.addfile(entry)
    refused(source, root, "link or no plain file")


def test_a_link_in_a_zip(package: Path, root: Path, tmp_path: Path) -> None:
    source = tmp_path / "sent.zip"
    as_zip(package, source)
    with zipfile.ZipFile(source, "a") as made:
        entry = zipfile.ZipInfo("LICENSE")
        entry.create_system, entry.external_attr = 3, 0o120777 << 16
        made.writestr(entry, "/etc/hostname")
    refused(source, root, "link or no plain file")


def test_an_archive_that_grows_beyond_all_bounds(
    package: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "bomb.zip"
    as_zip(package, source)
    with zipfile.ZipFile(source, "a", zipfile.ZIP_DEFLATED) as made:
        made.writestr("zeros", bytes(4_000_000))
    assert source.stat().st_size < 50_000
    monkeypatch.setattr(archive, "_BYTES_MAX", 1_000_000)
    refused(source, root, "has more than")


def test_too_many_files(
    package: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "sent.tar.gz"
    as_tar(package, source)
    monkeypatch.setattr(archive, "_MEMBERS_MAX", 3)
    refused(source, root, "more than 3 files")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_is_there_twice(package: Path, root: Path, tmp_path: Path) -> None:
    source = tmp_path / "twice.zip"
    as_zip(package, source)
    with zipfile.ZipFile(source, "a") as made:
        made.writestr("model.toml", "")
    refused(source, root, "twice")


@pytest.mark.parametrize("name", ["../up", "a b", "", ".."])
def test_a_name_that_makes_no_folder(package: Path, root: Path, name: str) -> None:
    path = package / "model.toml"
    text = path.read_text().replace('version = "1.0.0"', f'version = "{name}"')
    path.write_text(text)
    refused(package, root, "letters, digits and the signs")


def damaged(content: bytes) -> Mapping[str, bytes]:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as made:
        entry = tarfile.TarInfo("model.toml")
        entry.size = len(content)
        made.addfile(entry, io.BytesIO(content))
    whole = packed.getvalue()
    return {"cut": whole[: len(whole) // 2], "noise": b"\x00\x01" * 300}


@pytest.mark.parametrize("kind", ["cut", "noise"])
def test_a_file_that_is_no_sound_archive(root: Path, tmp_path: Path, kind: str) -> None:
    source = tmp_path / "sent"
    source.write_bytes(damaged((SAMPLE / "model.toml").read_bytes())[kind])
    refused(source, root, "is damaged|neither a folder nor")


@pytest.mark.parametrize("order", [("a", "a/b"), ("a/b", "a")])
def test_a_file_in_the_way_of_a_folder(root: Path, tmp_path: Path, order: tuple[str, str]) -> None:
    source = tmp_path / "sent.zip"
    with zipfile.ZipFile(source, "w") as made:
        for name in order:
            made.writestr(name, b"x")
    refused(source, root, "twice")


def test_a_name_that_no_disk_can_hold(root: Path, tmp_path: Path) -> None:
    source = tmp_path / "sent.zip"
    with zipfile.ZipFile(source, "w") as made:
        made.writestr("n" * 300, b"x")
    refused(source, root, "too long")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("deadline_s = 60", "deadline_s = nan"), "deadline_s nan"),
        (("deadline_s = 60", "deadline_s = -1"), "deadline_s -1"),
        (("memory_mib = 1024", "memory_mib = inf"), "memory_mib inf"),
        (("memory_mib = 1024", "memory_mib = 1e18"), "memory_mib 1e.18; it is a number from 1 to"),
        (("memory_mib = 1024", "memory_mib = 0.5"), "memory_mib 0.5"),
        (("deadline_s = 60", "deadline_s = 1e12"), "deadline_s 1e.12"),
        (("[files]", '[files]\n"w.bin" = 7'), "64 hexadecimal digits"),
        (("[files]", '[files]\n"w\\u0000" = "0"'), "no name"),
        (("[model]", f"x = {'[' * 3000}\n[model]"), "TOML"),
        (("min_slices = ", "min_slices = inf #"), "wrong kind"),
    ],
)
def test_a_manifest_with_values_that_are_none(
    package: Path, root: Path, change: tuple[str, str], words: str
) -> None:
    text = (package / "model.toml").read_text()
    assert change[0] in text
    (package / "model.toml").write_text(text.replace(*change, 1))
    refused(package, root, words)


def test_a_header_that_would_fill_the_memory(package: Path, root: Path, tmp_path: Path) -> None:
    source = tmp_path / "made.tar.gz"
    with tarfile.open(source, "w:gz") as made:
        member = tarfile.TarInfo("a")
        member.pax_headers = {"comment": "x" * 3_000_000}
        made.addfile(member)
    refused(source, root, "has a header that is longer than any package needs")


def test_headers_that_add_up(root: Path, tmp_path: Path) -> None:
    source = tmp_path / "made.tar"
    with tarfile.open(source, "w") as made:
        member = tarfile.TarInfo("a")
        member.pax_headers = {"comment": "x" * 100_000}
        made.addfile(member)
    refused(source, root, "says more of one of its files than a package does")


def test_headers_of_headers_without_end(root: Path, tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, 512
    record = b"512 comment=" + b"x" * 499 + b"\n"
    (tmp_path / "made.tar").write_bytes((header.tobuf() + record) * 3000 + bytes(1024))
    refused(tmp_path / "made.tar", root, "is damaged: ")


@pytest.mark.parametrize("kind", ["w:gz", "w:bz2", "w:xz", "w"])
def test_every_compression_comes_in(package: Path, root: Path, tmp_path: Path, kind: str) -> None:
    with tarfile.open(tmp_path / "made.tar", kind) as made:
        made.add(package, "bright_head")
    assert import_package(tmp_path / "made.tar", root, TERMS).new


def test_an_export_follows_no_link(package: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the operator")
    (package / "README.md").unlink()
    (package / "README.md").symlink_to(tmp_path / "secret")
    with pytest.raises(ManifestError, match="'README.md' in .* is a link"):
        export_package(read_manifest(package), tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()


def test_an_export_has_no_name_that_climbs_out(package: Path, tmp_path: Path) -> None:
    text = (package / "model.toml").read_text()
    (package / "model.toml").write_text(text.replace('"1.0.0"', '"../../1"'))
    with pytest.raises(ManifestError, match="letters, digits and the signs"):
        export_package(read_manifest(package), tmp_path / "out.zip")


def test_a_pipe_or_links_in_a_circle_are_no_files(package: Path) -> None:
    manifest = read_manifest(package)
    part = package / "parts" / "w.bin"
    part.unlink()
    os.mkfifo(part)
    with pytest.raises(ManifestError, match="lacks its file 'parts/w.bin'"):
        verify(manifest)
    part.unlink()
    part.symlink_to(part)
    with pytest.raises(ManifestError, match="lacks its file 'parts/w.bin'"):
        verify(manifest)
    (package / "model.toml").unlink()
    os.mkfifo(package / "model.toml")
    with pytest.raises(ManifestError, match="is no plain file"):
        read_manifest(package)


def test_a_manifest_of_any_size_is_not_read(package: Path) -> None:
    with (package / "model.toml").open("a") as file:
        file.write("#" * 5_000_000)
    with pytest.raises(ManifestError, match="has more than 4 MiB"):
        read_manifest(package)
