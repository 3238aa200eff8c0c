"""Where values came from, and on which line keys stand."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from secondread.config.explain import explain
from secondread.config.positions import locate
from secondread.config.reference import missing_tables, rewrite
from secondread.config.schema import NESTED, ROWS, SECTIONS
from secondread.config.tables import variable
from secondread.domain.attributes import ATTRIBUTES
from secondread.errors import ConfigurationError

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENT = REPOSITORY / "docs" / "configuration.md"

TRICKY = '''\
# [dicom]
"top" = 1
[node] # a comment with = and [x]
ae_title = "A # [not] a comment = \\" "
notes = """
port = 1
[dicom]
"""
other = \'\'\'one line\'\'\'
list = [ # here
  "a]", "b",
  { c = 1 },
]
after = 2
dotted.key = 3
[[peers]]
name = "a"
[ "peers" ]
'''


def test_lines_of_keys_in_a_tricky_document() -> None:
    text = TRICKY.replace('[ "peers" ]\n', '[[ "peers" ]]\nname = "b"\ninline = {x = 1}\n')
    tomllib.loads(text)
    positions = locate(text)
    assert positions.lines[("top",)] == 2
    assert positions.lines[("node",)] == 3
    assert positions.lines[("node", "ae_title")] == 4
    assert positions.lines[("node", "notes")] == 5
    assert ("node", "port") not in positions.lines
    assert positions.lines[("node", "other")] == 9
    assert positions.lines[("node", "list")] == 10
    assert positions.lines[("node", "after")] == 14
    assert positions.lines[("node", "dotted", "key")] == 15
    assert positions.lines[("peers", 0, "name")] == 17
    assert positions.lines[("peers", 1, "name")] == 19
    assert positions.line_of(("peers", 1, "inline", "x")) == 20
    assert positions.line_of(("nowhere",)) is None


def test_every_value_tells_its_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secondread.toml"
    path.write_text(
        '[node]\nae_title = "A"\n[[destinations]]\nname = "pacs"\nae_title = "P"\n'
        'host = "h"\nport = 104\n[[models]]\nid = "m"\npath = "."\n'
    )
    monkeypatch.setenv("SECONDREAD_DICOM__PORT", "4242")
    settings, values = explain(path)
    found = {value.key: (value.value, value.origin) for value in values}
    assert settings.port == 4242
    assert found["node.ae_title"] == ("A", "secondread.toml:2")
    assert found["dicom.port"] == ("4242", "SECONDREAD_DICOM__PORT")
    assert found["dicom.host"] == ("0.0.0.0", "default")
    assert found["destinations.pacs.port"] == (104, "secondread.toml:7")
    assert found["destinations.pacs.calling_ae_title"] == ("A", "default")
    assert found["models.m.qualification"] == ("RESEARCH", "default")
    keys = {f"{name}.{key}" for name, schema in SECTIONS.items() for key in schema.model_fields}
    assert keys <= set(found)


def test_a_faulty_file_is_not_explained(tmp_path: Path) -> None:
    path = tmp_path / "secondread.toml"
    path.write_text("[nod]\n")
    with pytest.raises(ConfigurationError, match="config check"):
        explain(path)


def test_every_setting_has_a_description() -> None:
    for name, schema in {**SECTIONS, **ROWS, **NESTED}.items():
        for key, field in schema.model_fields.items():
            assert field.description, f"{name}.{key}"
            assert field.description.endswith("."), f"{name}.{key}"


def test_the_document_has_every_setting_as_the_code_has_it() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert list(missing_tables(text)) == []
    assert rewrite(text) == text, (
        "stale; run: python -m secondread.config.reference docs/configuration.md"
    )
    for name, schema in SECTIONS.items():
        for key in schema.model_fields:
            assert f"`{variable(name, key)}`" in text


def test_the_document_has_every_attribute_that_rules_may_ask_for() -> None:
    text = (REPOSITORY / "docs" / "rules.md").read_text(encoding="utf-8")
    assert rewrite(text) == text, "stale; run: python -m secondread.config.reference docs/rules.md"
    for keyword in ATTRIBUTES:
        assert f"`{keyword}`" in text


def test_a_stale_block_is_rewritten() -> None:
    assert "`port`" in rewrite("<!-- begin dicom -->\nstale\n<!-- end dicom -->\n")
    assert "stale" not in rewrite("<!-- begin dicom -->\nstale\n<!-- end dicom -->\n")
    assert next(iter(missing_tables("<!-- begin dicom -->\n<!-- end dicom -->"))) == "node"
