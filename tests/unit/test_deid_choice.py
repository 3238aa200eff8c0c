"""From names and options of exports to profiles."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from secondread.config.exports import BUILT_IN, Option
from secondread.config.load import examine
from secondread.deid.choice import choose, options_of
from secondread.deid.profile.options import PROFILES
from secondread.domain.export import ExportOption, NamedExport
from secondread.errors import UsageError


@pytest.mark.parametrize("option", ExportOption)
def test_every_option_is_taken(option: ExportOption) -> None:
    given = [option]
    if option is ExportOption.DROP_TIMES:
        given.append(ExportOption.MODIFIED_DATES)
    if option is ExportOption.FIND_TEXT:
        given.append(ExportOption.CLEAN_PIXELS)
    profile, _ = choose("basic", given, ())
    assert set(options_of(profile)) == set(given)


@pytest.mark.parametrize("name", PROFILES)
def test_a_built_in_one_is_taken_as_it_is(name: str) -> None:
    assert choose(name, (), ())[0] == PROFILES[name]


def test_text_is_looked_for_only_where_it_may_be_blanked() -> None:
    with pytest.raises(UsageError, match="find-text without clean-pixels"):
        choose("basic", [ExportOption.FIND_TEXT], ())


def test_options_add_up() -> None:
    named = NamedExport("n", (ExportOption.CLEAN_PIXELS,), "p")
    profile, project = choose("n", [ExportOption.RETAIN_UIDS], [named])
    assert (profile.clean_pixels, profile.retain_uids, project) == (True, True, "p")
    with pytest.raises(UsageError):
        choose("research", [ExportOption.FULL_DATES], ())


def test_the_configuration_and_the_document_know_every_option() -> None:
    assert set(Option.__args__) == {option.value for option in ExportOption}
    manual = Path(__file__).resolve().parents[2] / "docs" / "crosswalk.md"
    assert set(re.findall(r"^\| `([a-z-]+)` \|", manual.read_text(), re.M)) == {
        option.value for option in ExportOption
    }


def test_the_configuration_knows_what_is_built_in() -> None:
    assert set(BUILT_IN) == set(PROFILES)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ('name = "basic"', "is 'basic', which is always there"),
        ('name = " "', "must not be empty"),
        ('name = "a"\noptions = ["retain-everything"]', "'options' in [[exports]] 'a'"),
        ('name = "a"\noptions = ["full-dates", "modified-dates"]', "take one of them"),
        ('name = "a"\noptions = ["drop-times"]', "where it means nothing"),
        ('name = "a"\n[[exports]]\nname = "a"', "There are 2 [[exports]] called 'a'"),
    ],
)
def test_a_wrong_row_is_told(tmp_path: Path, row: str, sentence: str) -> None:
    path = tmp_path / "secondread.toml"
    path.write_text(f"[[exports]]\n{row}\n")
    found = examine(path, {})
    assert any(sentence in str(fault) for fault in found.faults), found.faults


@pytest.mark.parametrize("name", ["a/b", "..", "\\\\x"])
def test_a_credential_is_no_path(tmp_path: Path, name: str) -> None:
    path = tmp_path / "secondread.toml"
    path.write_text(f'[deid]\nkey_credential = "{name}"\n')
    assert "the name of a credential" in str(examine(path, {}).faults[0])
