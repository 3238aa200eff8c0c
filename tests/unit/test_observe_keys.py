"""The secret, and the names of studies in the log."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from secondread.errors import LedgerError
from secondread.observe.keys import SECRET_BYTES, SECRET_NAME, read_secret, study_key


def test_a_key_is_short_stable_and_needs_the_secret() -> None:
    key = study_key("1.2.3", b"a" * 32)
    assert key == study_key("1.2.3", b"a" * 32)
    assert len(key) == 12
    int(key, 16)
    assert key != study_key("1.2.3", b"b" * 32)
    assert key != study_key("1.2.4", b"a" * 32)


def test_the_secret_is_made_once_and_only_for_its_owner(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    secret = read_secret(folder)
    path = folder / SECRET_NAME
    assert len(secret) == SECRET_BYTES
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_secret(folder) == secret
    assert [entry.name for entry in folder.iterdir()] == [SECRET_NAME]


def test_processes_that_start_together_share_one_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        found = set(pool.map(lambda _: read_secret(tmp_path), range(64)))
    assert len(found) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == [SECRET_NAME]


def test_a_damaged_secret_is_not_used(tmp_path: Path) -> None:
    (tmp_path / SECRET_NAME).write_bytes(b"short")
    with pytest.raises(LedgerError, match="damaged"):
        read_secret(tmp_path)


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="cannot be used"):
        read_secret(tmp_path / "file")
