"""The configuration: what is accepted, what is refused, and in which words."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from secondread.config.checks import remarks
from secondread.config.load import examine, load
from secondread.config.settings import GIB, Settings
from secondread.config.template import render_template
from secondread.domain.condition import AttributeTest, PeerTest
from secondread.errors import EXIT_CONFIGURATION, ConfigurationError

GOOD = """\
[node]
ae_title = "NODE1"
data_dir = "data"
minimum_free_gib = 2

[dicom]
port = 11113

[[peers]]
name = "mr1"
ae_title = "MR1"
addresses = ["10.1.2.3", "10.9.0.0/16", "::1"]
quiet_s = 12

[[destinations]]
name = "pacs"
ae_title = "PACS"
host = "pacs.hospital"
port = 104

[[rules]]
name = "heads"
model = "brain_mr"
destinations = ["pacs"]
peers = ["mr1"]
modalities = ["MR"]
study_description = "(?i)head"
priority = 5

[[models]]
id = "brain_mr"
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(text: str) -> Path:
        path = tmp_path / "secondread.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return put


def faults_of(path: Path, environment: dict[str, str] | None = None) -> list[str]:
    examined = examine(path, environment or {})
    assert examined.settings is None
    return [str(fault) for fault in examined.faults]


def test_a_good_file_becomes_domain_records(write: Write, tmp_path: Path) -> None:
    settings = load(write(GOOD), {})
    assert settings.ae_title == "NODE1"
    assert settings.data_dir == tmp_path / "data"
    assert settings.minimum_free_bytes == 2 * GIB
    assert settings.port == 11113
    (peer,) = settings.peers
    assert peer.addresses == ("10.1.2.3", "10.9.0.0/16", "::1")
    assert peer.quiet_s == 12.0
    assert peer.is_at("10.9.7.7")
    (destination,) = settings.destinations
    assert destination.calling_ae_title == "NODE1"
    (rule,) = settings.rules
    assert (rule.model, rule.destinations, rule.priority) == ("brain_mr", ("pacs",), 5)
    assert rule.when == (
        PeerTest(("mr1",)),
        AttributeTest("Modality", one_of=("MR",)),
        AttributeTest("StudyDescription", pattern="(?i)head"),
    )
    assert rule.report_not_analysed
    (model,) = settings.models
    assert Path(model.path).name == "brain_mr"
    assert model.qualification == "RESEARCH"
    assert remarks(settings) == ()


def test_an_empty_file_gives_the_defaults_of_the_record(write: Write) -> None:
    path = write("")
    assert load(path, {}) == dataclasses.replace(Settings(), path=path)


def test_the_template_passes_as_it_is_written(write: Write, tmp_path: Path) -> None:
    settings = load(write(render_template(tmp_path / "a 'quoted' \"folder\"")), {})
    assert settings.data_dir == tmp_path / "a 'quoted' \"folder\""
    assert [model.id for model in settings.models] == ["brain_mr"]
    assert (
        dataclasses.replace(settings, path=None, models=(), data_dir=Settings().data_dir)
        == Settings()
    )


def test_the_template_passes_with_its_examples_switched_on(write: Write, tmp_path: Path) -> None:
    lines = render_template(tmp_path).splitlines()
    start = lines.index("# [[peers]]")
    examples = [
        line.removeprefix("# ")
        for line in lines[start:]
        if line.startswith(("# [", "# ]", "#   ")) or (line.startswith("# ") and " = " in line)
    ]
    settings = load(write("\n".join(lines[:start] + examples)), {})
    assert (len(settings.peers), len(settings.destinations), len(settings.rules)) == (1, 1, 1)
    assert remarks(settings) == ()


def test_everything_wrong_is_told_at_once_with_its_line(write: Write) -> None:
    text = GOOD.replace('ae_title = "NODE1"', 'ae_titel = "NODE1"')
    text = text.replace("port = 11113", 'port = "11113"')
    text = text.replace('model = "brain_mr"', 'model = "brain"')
    path = write(text)
    with pytest.raises(ConfigurationError) as caught:
        load(path, {})
    message = str(caught.value)
    assert caught.value.exit_code == EXIT_CONFIGURATION
    assert "has 3 faults" in message
    assert "line 2: Unknown key 'ae_titel' in [node]; did you mean 'ae_title'?" in message
    assert "line 7: 'port' in [dicom] must be a whole number, not the text '11113'." in message
    assert "line 23: [[rules]] 'heads' names 'brain'" in message
    assert "did you mean 'brain_mr'?" in message


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"NODE1"', '"A TITLE THAT IS LONG"', "has 20 characters"),
        ('"NODE1"', '"  "', "all spaces"),
        ('"NODE1"', '" NODE"', "begin or end with a space"),
        ('"NODE1"', "'A\\B'", "no backslash"),
        ('"NODE1"', '"NÖDE"', "plain ASCII"),
        ('"NODE1"', '"A\\u0007"', "plain ASCII"),
        ("minimum_free_gib = 2", "minimum_free_gib = -1", "at least 0, not -1"),
        ("minimum_free_gib = 2", "minimum_free_gib = nan", "finite number"),
        ("minimum_free_gib = 2", 'uid_root = "1.02.3"', "digits and dots"),
        ("minimum_free_gib = 2", f'uid_root = "1.{"2" * 40}"', "39 is the most"),
        ("port = 11113", "port = -1", "at least 0"),
        ("port = 11113", "port = 0", "nobody could call"),
        ("port = 11113", "port = 65536", "at most 65535"),
        ("port = 11113", "port = true", "must be a whole number, not true"),
        ("port = 11113", "prot = 1", "did you mean 'port'?"),
        ("port = 11113", "slots = 1", "it belongs in [inference]"),
        ("port = 11113", 'host = "http://x"', "without port or scheme"),
        ('"10.1.2.3"', '"10.1.2.300"', "not an IP address or network"),
        (
            '["10.1.2.3", "10.9.0.0/16", "::1"]',
            "[]",
            "'mr1' must not be empty",
        ),
        ('["10.1.2.3", "10.9.0.0/16", "::1"]', '"10.1.2.3"', "must be a list"),
        ('ae_title = "MR1"\n', "", "[[peers]] 'mr1' lacks the key 'ae_title'"),
        ("(?i)head", "(head", "not a valid regular expression"),
        ('peers = ["mr1"]', 'peers = ["ct1"]', "not among the [[peers]]"),
        ('destinations = ["pacs"]', 'destinations = ["paks"]', "did you mean 'pacs'?"),
        ('id = "brain_mr"', 'id = "lung_ct"', "no model of that id comes with SecondRead"),
        ('id = "brain_mr"', 'id = "../x"\npath = "y"', "only letters, digits"),
        (
            'id = "brain_mr"',
            'id = "brain_mr"\nqualification = "CLINICAL"',
            "'RESEARCH' or 'PRODUCT'",
        ),
        ("[dicom]", "[dcom]", "did you mean 'dicom'?"),
        ("[[peers]]", "[peers]", "write [[peers]], not [peers]"),
    ],
)
def test_each_mistake_has_its_sentence(write: Write, old: str, new: str, expected: str) -> None:
    assert old in GOOD
    told = faults_of(write(GOOD.replace(old, new, 1)))
    assert any(expected in sentence for sentence in told), told
    assert all(sentence.startswith("line ") and sentence.endswith((".", "?")) for sentence in told)


def test_names_are_unique_within_their_kind(write: Write) -> None:
    again = '\n[[peers]]\nname = "mr1"\nae_title = "MR2"\naddresses = ["10.1.2.4"]\n'
    (told,) = faults_of(write(GOOD + again))
    assert told == "line 34: There are 2 [[peers]] called 'mr1'; each needs a name of its own."


def test_two_peers_may_not_share_a_title(write: Write) -> None:
    again = '\n[[peers]]\nname = "mr2"\nae_title = "MR1"\naddresses = ["10.1.2.4"]\n'
    (told,) = faults_of(write(GOOD + again))
    assert "has the AE title of [[peers]] 'mr1'" in told


def test_a_faulty_table_still_counts_as_there(write: Write) -> None:
    """A destination with a bad port must not also be reported as unknown."""
    (told,) = faults_of(write(GOOD.replace("port = 104", "port = 1040000")))
    assert "at most 65535" in told


def test_the_environment_overrides_scalars(write: Write) -> None:
    settings = load(
        write(GOOD),
        {
            "SECONDREAD_DICOM__PORT": "4242",
            "SECONDREAD_NODE__MINIMUM_FREE_GIB": "0.5",
            "SECONDREAD_LOG__FORMAT": "console",
            "SECONDREAD_CONFIG": "elsewhere",
            "SECONDREAD_DEBUG": "1",
        },
    )
    assert settings.port == 4242
    assert settings.minimum_free_bytes == GIB // 2
    assert settings.log_format == "console"


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("SECONDREAD_DICOM__PRT", "1", "did you mean 'port'?"),
        ("SECONDREAD_DICOM__PORT", "many", "must be a whole number, not the text 'many'"),
        ("SECONDREAD_PEERS__NAME", "x", "The environment can override only [node]"),
        ("SECONDREAD_LOG__LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
    ],
)
def test_a_wrong_variable_is_a_fault_that_names_it(
    write: Write, variable: str, value: str, expected: str
) -> None:
    (told,) = faults_of(write(GOOD), {variable: value})
    assert told.startswith(f"{variable}: ")
    assert expected in told


def test_the_file_is_searched_in_order(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = write(GOOD)
    other = tmp_path / "other.toml"
    other.write_text('[node]\nae_title = "OTHER"\n')
    monkeypatch.chdir(tmp_path)
    assert load(None, {}).path == here
    assert load(None, {"SECONDREAD_CONFIG": str(other)}).ae_title == "OTHER"
    assert load(here, {"SECONDREAD_CONFIG": str(other)}).ae_title == "NODE1"


def test_a_named_file_that_is_absent_is_not_skipped(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(GOOD)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="which --config names"):
        load(tmp_path / "absent.toml", {})
    with pytest.raises(ConfigurationError, match="SECONDREAD_CONFIG names"):
        load(None, {"SECONDREAD_CONFIG": str(tmp_path / "absent.toml")})


def test_toml_that_is_none_is_told_with_its_line(write: Write) -> None:
    with pytest.raises(ConfigurationError, match=r"not valid TOML: .*line 2"):
        load(write("[node]\nae_title = \n"), {})


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "secondread.toml"
    path.write_bytes(b'[node]\nae_title = "\xff"\n')
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        load(path, {})


def test_a_relative_model_path_counts_from_the_file(write: Write, tmp_path: Path) -> None:
    settings = load(write('[[models]]\nid = "x"\npath = "../models/x"\n'), {})
    assert settings.models[0].path == str(tmp_path.parent / "models" / "x")


def test_remarks_name_what_is_probably_not_meant(write: Write) -> None:
    settings = load(write(GOOD.replace('"10.1.2.3"', '"0.0.0.0/0"')), {})
    (remark,) = remarks(settings)
    assert "any address" in remark.sentence
    assert {remark.remedy for remark in remarks(Settings())} == {
        "Add your scanners or router to [[peers]].",
        "Add your PACS to [[destinations]].",
        "Add one to [[models]].",
        "Add a rule to [[rules]].",
    }
