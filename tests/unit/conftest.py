"""What tests of commands and of training share: an answer, a ledger, images of cubes."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from secondread.cli.main import execute
from secondread.store import Ledger

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    """A command sets up the logging of its process, which here is that of all tests."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    own = logging.getLogger("secondread")
    own_level = own.level
    yield
    root.handlers[:], root.level = handlers, level
    own.setLevel(own_level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], logging_as_it_was: None) -> Command:
    """``command("model", "list")``: exit code, standard output, standard error."""

    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = execute(list(map(str, words)))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture(scope="session")
def new_ledger(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], None]:
    """``new_ledger(folder)`` puts an empty ledger there: a copy, for its migrations take long."""
    empty = tmp_path_factory.mktemp("ledger")
    Ledger.open(empty).close()

    def copy(folder: Path) -> None:
        shutil.copytree(empty, folder)

    return copy


@pytest.fixture(scope="session")
def cubes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images and the label maps of twelve cubes; only ever read."""
    from tests.learning_runs import write_cube

    folder = tmp_path_factory.mktemp("cubes")
    for number in range(1, 13):
        write_cube(folder, number)
    return folder


@pytest.fixture
def own_cubes(cubes: Path, tmp_path: Path) -> Path:
    """A copy of them, for a test that changes something."""
    return Path(shutil.copytree(cubes, tmp_path / "data"))
