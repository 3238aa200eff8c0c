"""docs/dependencies.md says what pyproject.toml asks for and what the Makefile installs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SECTIONS = {
    "The node": None,
    "Extra `browser`": "browser",
    "Extra `demo`": "demo",
    "Extra `monai`": "monai",
    "Extra `test`": "test",
    "Extra `train`": "train",
}


def _name(requirement: str) -> str:
    return re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower()


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def documented() -> dict[str, list[tuple[str, str, str]]]:
    """The rows of each section: package, licence, reason."""
    text = (REPOSITORY / "docs" / "dependencies.md").read_text()
    sections = {}
    for part in text.split("\n## ")[1:]:
        title, _, body = part.partition("\n")
        rows = [
            tuple(c.strip() for c in line.strip("|").split("|"))
            for line in body.splitlines()
            if line.startswith("|")
        ]
        sections[title] = rows[2:]
    return sections


@pytest.mark.parametrize("section", SECTIONS)
def test_each_table_is_the_list_in_pyproject(project, documented, section):
    extra = SECTIONS[section]
    asked = project["project"]
    wanted = asked["optional-dependencies"][extra] if extra else asked["dependencies"]
    assert sorted(name for name, _, _ in documented[section]) == sorted(map(_name, wanted))


def test_every_extra_has_a_table(project):
    assert set(project["project"]["optional-dependencies"]) == {e for e in SECTIONS.values() if e}


def test_the_build_system_is_documented(project, documented):
    assert [n for n, _, _ in documented["Build"]] == [
        _name(requirement) for requirement in project["build-system"]["requires"]
    ]


def test_system_packages_are_those_that_make_installs(documented):
    makefile = (REPOSITORY / "Makefile").read_text()
    installed = {
        name for line in re.findall(r"packages\.sh (.+)", makefile) for name in line.split()
    }
    assert {name for name, _, _ in documented["System packages"]} == installed


def test_every_row_has_a_licence_and_a_reason(documented):
    rows = [row for section in documented.values() for row in section]
    assert rows
    assert all(len(row) == 3 and all(row) for row in rows)
