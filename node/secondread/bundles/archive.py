"""Packages on their way: out as one file, and in from a file or a folder of somebody else.

Only what belongs to a package is ever taken: ``model.toml``, its signature, the files that it names
with their digests, the card and the licence. Names that climb out of the folder, links and
whatever is larger than a package may be are refused before anything is put in its place.
"""

from __future__ import annotations

import gzip
import io
import lzma
import os
import re
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal

from secondread.bundles.manifest import MANIFEST_NAME, Manifest, read_manifest, verify
from secondread.bundles.signature import SIGNATURE_NAME, Vouched, check_signature
from secondread.domain.packages import PackageTerms
from secondread.errors import ManifestError

CARD_NAME = "README.md"
LICENSE_NAME = "LICENSE"
_COMPANIONS = (SIGNATURE_NAME, CARD_NAME, LICENSE_NAME)
_BYTES_MAX = 8 * 1024**3
_MEMBERS_MAX = 10_000
_CHUNK_BYTES = 1024 * 1024
_HEADER_BYTES_MAX = 64 * 1024
_NAME_BYTES_MAX = 255
_DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error),
    *(EOFError, NotImplementedError, lzma.LZMAError, RecursionError),
)
# The earliest that a ZIP file can say: the same package is the same archive whenever it is made.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_FOLDER_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}")


@dataclass(frozen=True, slots=True)
class Imported:
    """A package in its place; ``new`` is false where the same one was there before."""

    manifest: Manifest
    vouched: Vouched
    new: bool


def export_package(manifest: Manifest, target: Path) -> tuple[str, ...]:
    """Write a package as a ZIP file that is the same, byte for byte, whenever it is written.

    Returns: the names in it.

    Raises:
        ManifestError: a file of the package is absent, has changed or is a link, or its id and
            version make no name.
        FileExistsError: ``target`` is there already.
    """
    verify(manifest)
    names = sorted(_names(manifest.folder, manifest.files))
    for name in names:
        _plain_file(manifest.folder, name)
    top = folder_name(manifest)
    with target.open("xb") as file, zipfile.ZipFile(file, "w") as archive:
        for name in names:
            entry = zipfile.ZipInfo(f"{top}/{name}", _EPOCH)
            entry.compress_type = zipfile.ZIP_STORED
            entry.external_attr = 0o100644 << 16
            entry.create_system = 3
            with (
                (manifest.folder / name).open("rb") as source,
                archive.open(entry, "w", force_zip64=True) as sink,
            ):
                shutil.copyfileobj(source, sink, _CHUNK_BYTES)
    return tuple(names)


def import_package(source: Path, root: Path, terms: PackageTerms, digest: str = "") -> Imported:
    """Copy a package into ``root``, in a folder named by its id and version.

    Args:
        source: a folder, or a ``.zip``, ``.tar``, ``.tar.gz`` or ``.tgz`` file.
        root: the folder of packages; it is made.
        terms: whose packages are taken.
        digest: sha256 that ``model.toml`` must have; '' for any.

    Raises:
        ManifestError: it is not sound, not the one that was asked for, or another package of the
            same id and version is there; nothing is left behind then.
    """
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".incoming-", dir=root) as made:
        unpacked, folder = Path(made) / "unpacked", Path(made) / "package"
        with _opened(source, unpacked) as found:
            manifest = read_manifest(found)
            _copy(found, folder, manifest.files)
        copied = read_manifest(folder)
        if digest and copied.digest != digest.lower():
            raise ManifestError(
                f"'{source}' holds another package than the one that was asked for: sha256 of its "
                f"{MANIFEST_NAME} is {copied.digest}."
            )
        verify(copied)
        vouched = check_signature(folder, copied.digest, terms)
        return _settle(copied, root, vouched)


def _settle(manifest: Manifest, root: Path, vouched: Vouched) -> Imported:
    target = root / folder_name(manifest)
    if target.exists():
        there = read_manifest(target)
        if there.digest != manifest.digest:
            raise ManifestError(
                f"'{target}' holds another package that calls itself {manifest.id} "
                f"{manifest.version}: sha256 {there.digest[:12]}…, the new one has "
                f"{manifest.digest[:12]}…. Nothing was changed; its maker has to give the new one "
                "a version of its own."
            )
        verify(there)
        return Imported(there, vouched, new=False)
    # The node may run as another user than whoever imports.
    for path in (manifest.folder, *manifest.folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    manifest.folder.rename(target)
    return Imported(read_manifest(target), vouched, new=True)


def folder_name(manifest: Manifest) -> str:
    """Where a package lies among others: its id and version.

    Raises:
        ManifestError: they do not make the name of a folder.
    """
    for part in (manifest.id, manifest.version):
        if not _FOLDER_PART.fullmatch(part):
            raise ManifestError(
                f"The package calls itself '{manifest.id}' {manifest.version!r}; an id and a "
                "version have letters, digits and the signs _ . + - only, 64 at most."
            )
    return f"{manifest.id}-{manifest.version}"


def _names(folder: Path, files: Mapping[str, str]) -> set[str]:
    there = {name for name in _COMPANIONS if (folder / name).exists()}
    return {MANIFEST_NAME, *there, *files}


def _copy(source: Path, target: Path, files: Mapping[str, str]) -> None:
    left = _BYTES_MAX
    for name in sorted(_names(source, files)):
        with _plain_file(source, name).open("rb") as file:
            left = _write(file, target / _safe(name), left)


def _plain_file(folder: Path, name: str) -> Path:
    """Where a file of a package lies, that no link leads to."""
    relative = _safe(name)
    steps = [folder.joinpath(*relative.parts[: n + 1]) for n in range(len(relative.parts))]
    if any(step.is_symlink() for step in steps):
        raise ManifestError(f"'{name}' in '{folder}' is a link, which a package may not have.")
    if not (folder / relative).is_file():
        raise ManifestError(f"'{folder}' lacks the file '{name}', which its manifest names.")
    return folder / relative


@contextmanager
def _opened(source: Path, unpacked: Path) -> Iterator[Path]:
    """The folder of a package that lies in a folder or an archive."""
    if source.is_dir():
        yield source
        return
    unpacked.mkdir()
    try:
        if zipfile.is_zipfile(source):
            _unzip(source, unpacked)
        elif _is_tar(source):
            _untar(source, unpacked)
        else:
            raise ManifestError(f"'{source}' is neither a folder nor a ZIP or tar archive.")
    except _DAMAGED as error:
        raise ManifestError(f"'{source}' is damaged: {error}.") from None
    inside = [entry for entry in unpacked.iterdir() if entry.is_dir()]
    alone = not (unpacked / MANIFEST_NAME).exists() and len(inside) == 1
    yield inside[0] if alone else unpacked


def _unzip(source: Path, target: Path) -> None:
    left = _BYTES_MAX
    with zipfile.ZipFile(source) as archive:
        members = archive.infolist()
        _check_count(source, len(members))
        for member in members:
            name = _safe(member.filename)
            if member.is_dir():
                continue
            kind = (member.external_attr >> 16) & 0o170000
            if kind not in {0, 0o100000}:
                raise ManifestError(f"'{name}' in '{source}' is a link or no plain file.")
            if member.flag_bits & 1:
                raise ManifestError(f"'{source}' is locked with a password.")
            with archive.open(member) as file:
                left = _write(file, target / name, left)


def _is_tar(source: Path) -> bool:
    try:
        with source.open("rb") as whole, _Archive.open(fileobj=whole):
            return True
    except tarfile.TarError:
        return False


def _untar(source: Path, target: Path) -> None:
    left = _BYTES_MAX
    with source.open("rb") as whole, _Archive.open(fileobj=whole) as archive:
        for count, member in enumerate(archive, 1):
            _check_count(source, count)
            said = sum(len(key) + len(text) for key, text in member.pax_headers.items())
            if said > _HEADER_BYTES_MAX:
                raise ManifestError(
                    f"'{source}' says more of one of its files than a package does."
                )
            name = _safe(member.name)
            if member.isdir():
                continue
            file = archive.extractfile(member) if member.isreg() else None
            if file is None:
                raise ManifestError(f"'{name}' in '{source}' is a link or no plain file.")
            left = _write(file, target / name, left)


class _Archive(tarfile.TarFile):
    """A tar archive whose headers are of a usual length: Python reads each of them at once."""

    def __init__(
        self,
        name: Any = None,
        mode: Literal["r", "a", "w", "x"] = "r",
        fileobj: Any = None,
        **more: Any,
    ) -> None:
        super().__init__(name, mode, _InPieces(fileobj), **more)


class _InPieces:
    """A file of which nobody reads more at a time than a piece."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, size: int = -1) -> bytes:
        """Read as the file does.

        Raises:
            ManifestError: it is more than a piece.
        """
        if not 0 <= size <= _CHUNK_BYTES:
            raise ManifestError("The archive has a header that is longer than any package needs.")
        content: bytes = self._file.read(size)
        return content


def _check_count(source: Path, count: int) -> None:
    if count > _MEMBERS_MAX:
        raise ManifestError(f"'{source}' holds more than {_MEMBERS_MAX} files; no package does.")


def _safe(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    odd = not name.isprintable() or "\\" in name or ":" in name
    if any(len(part.encode(errors="replace")) > _NAME_BYTES_MAX for part in path.parts):
        raise ManifestError(f"The package names a file whose name is too long: {name[:40]!r}….")
    if odd or path.is_absolute() or ".." in path.parts:
        raise ManifestError(f"The package names a file outside its folder: {name!r}.")
    return path


def _write(file: IO[bytes], path: Path, left: int) -> int:
    """Copy at most ``left`` bytes into a new file; returns how many more there may be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    except (FileExistsError, NotADirectoryError):
        # One of the two may be a folder on the way to the other.
        raise ManifestError(f"The package holds the file '{path.name}' twice.") from None
    with io.FileIO(handle, "w") as sink:
        while chunk := file.read(_CHUNK_BYTES):
            left -= len(chunk)
            if left < 0:
                raise ManifestError(
                    f"The package has more than {_BYTES_MAX // 1024**3} GiB; nothing was taken."
                )
            sink.write(chunk)
    return left
