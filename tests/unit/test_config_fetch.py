"""[rules.fetch]: what becomes of it, and what is wrong in which words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from secondread.config.checks import remarks
from secondread.config.load import examine, load
from secondread.domain.fetch import FetchTerms

TABLES = """\
[[models]]
id = "brain_mr"
[[peers]]
name = "ct"
ae_title = "CT1"
addresses = ["10.1.2.3"]
quiet_s = 30.0
[[peers]]
name = "archive"
ae_title = "PACS"
addresses = ["10.1.2.10"]
quiet_s = 30.0
[[destinations]]
name = "pacs"
ae_title = "PACS"
host = "pacs"
port = 104
[[destinations]]
name = "web"
kind = "stow"
[destinations.web]
url = "http://127.0.0.1:8042/dicom-web"
[[destinations]]
name = "research"
kind = "folder"
[destinations.folder]
path = "/tmp"
[[rules]]
name = "heads"
model = "brain_mr"
destinations = ["pacs", "web", "research"]
"""
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(fetch: str, tables: str = TABLES) -> Path:
        path = tmp_path / "secondread.toml"
        path.write_text(f"{tables}\n{fetch}\n")
        return path

    return write


def fetched(text: str) -> str:
    return f"[rules.fetch]\n{text}"


def test_a_rule_that_says_nothing_fetches_nothing(write: Write) -> None:
    (rule,) = load(write(""), {}).rules
    assert rule.fetch is None


def test_every_key_arrives(write: Write) -> None:
    text = (
        '[rules.complete]\nask = "pacs"\n[rules.fetch]\nsource = "pacs"\nmissing = true\n'
        "priors = 3\nprior_days = 700\nwait_s = 60.0"
    )
    settings = load(write(text), {})
    assert settings.rules[0].fetch == FetchTerms("pacs", True, 3, 700, 60.0)
    assert not [one for one in remarks(settings) if "fetch" in one.sentence]


def test_what_is_left_out_has_the_defaults_of_the_record(write: Write) -> None:
    (rule,) = load(write(fetched('source = "pacs"')), {}).rules
    assert rule.fetch == FetchTerms("pacs")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('source = "pax"', "did you mean 'pacs'?"),
        ('source = "research"', "which is of kind 'folder': only an archive of kind 'dicom' or"),
        ('source = "pacs"\nmissing = true', "name it as 'ask' in [rules.complete] of this rule"),
        ('source = "pacs"\npriors = 11', "must be at most 10, not 11"),
        ("priors = 1", "lacks the key 'source'"),
    ],
)
def test_each_mistake_has_its_sentence(write: Write, text: str, sentence: str) -> None:
    faults = [str(fault) for fault in examine(write(fetched(text)), {}).faults]
    assert len(faults) == 1, faults
    assert sentence in faults[0]
    assert faults[0].startswith("line ")


def test_asking_by_the_terms_of_a_peer_is_asking(write: Write) -> None:
    text = TABLES.replace("quiet_s = 30.0\n", 'quiet_s = 30.0\n[peers.complete]\nask = "pacs"\n', 1)
    path = write(fetched('source = "pacs"\nmissing = true'), text)
    assert not examine(path, {}).faults
    other = write('[rules.complete]\nask = "web"\n' + fetched('source = "pacs"\nmissing = true'))
    assert any("'missing'" in str(fault) for fault in examine(other, {}).faults)


@pytest.mark.parametrize(
    ("fetch", "old", "new", "sentence"),
    [
        ('source = "pacs"', "", "", "fetches nothing"),
        (
            'source = "pacs"\npriors = 1',
            'ae_title = "PACS"\naddresses',
            'ae_title = "OTHER"\naddresses',
            "No peer that may store has the AE title of 'pacs', 'PACS'",
        ),
        (
            'source = "pacs"\npriors = 1',
            'model = "brain_mr"\n',
            'model = "brain_mr"\nshadow = true\n',
            "because the rule is in shadow",
        ),
    ],
)
def test_what_is_hardly_meant_is_remarked(
    write: Write, fetch: str, old: str, new: str, sentence: str
) -> None:
    settings = load(write(fetched(fetch), TABLES.replace(old, new)), {})
    found = [one.sentence for one in remarks(settings) if sentence in one.sentence]
    assert len(found) == 1


def test_fetching_from_the_web_needs_no_peer(write: Write) -> None:
    tables = TABLES.replace('ae_title = "PACS"\naddresses', 'ae_title = "OTHER"\naddresses')
    settings = load(write(fetched('source = "web"\npriors = 1'), tables), {})
    assert not [one for one in remarks(settings) if "C-MOVE" in one.sentence]
