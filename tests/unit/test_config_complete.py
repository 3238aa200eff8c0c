"""[peers.complete] and [rules.complete]: what becomes of them, and what is wrong in which words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from secondread.config.blocks import Kind, RowChange
from secondread.config.checks import remarks
from secondread.config.edit import write
from secondread.config.explain import explain
from secondread.config.load import examine, load
from secondread.config.references import named_peers, renamings, rules_naming
from secondread.config.reload import Watch
from secondread.config.source import read_source
from secondread.domain.completeness import AtLimit, Completeness, WantedSeries
from secondread.domain.condition import AttributeTest

TEXT = """\
[[models]]
id = "brain_mr"

[[peers]]
name = "ct1"   # in room 1
ae_title = "CT1"
addresses = ["10.1.1.1"]
quiet_s = 20

# What it waits for.
[peers.complete]
learn = true
wait_max_s = 600   # ten minutes
at_limit = "hold"
ask = "pacs"

[[peers.complete.series]]
name = "thin"
when = [
  { attribute = "SliceThickness", to = 1.5 },  # or less
]

[[peers]]
name = "mr1"
ae_title = "MR1"
addresses = ["10.1.1.2"]

[[destinations]]
name = "pacs"
ae_title = "PACS"
host = "pacs"
port = 104

[[rules]]
name = "heads"
model = "brain_mr"
destinations = ["pacs"]
when = [
  { peer = ["ct1", "mr1"] },  # both
  { any = [
    { not = { peer = "ct1" } },
    { attribute = "Modality", is = "ct1" },
  ] },
]

[rules.complete]
quiet_s = 5
on_release = false
series = []
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "secondread.toml"
    file.write_text(TEXT)
    return file


@pytest.fixture
def faults(path: Path) -> Callable[[str, str], list[str]]:
    def told(old: str, new: str) -> list[str]:
        assert old in TEXT
        path.write_text(TEXT.replace(old, new, 1))
        return [str(fault) for fault in examine(path, {}).faults]

    return told


def test_tables_become_records(path: Path) -> None:
    settings = load(path, {})
    first, second = settings.peers
    assert first.complete == Completeness(
        quiet_s=20.0,
        learn=True,
        wait_max_s=600.0,
        at_limit=AtLimit.HOLD,
        ask="pacs",
        series=(WantedSeries("thin", (AttributeTest("SliceThickness", high=1.5),)),),
    )
    assert second.complete == Completeness()
    assert settings.rules[0].complete == {"quiet_s": 5.0, "on_release": False, "series": ()}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("learn = true", "lern = true", "line 12: Unknown key 'lern' in [peers.complete] of 'ct1'"),
        ("learn = true", 'learn = "yes"', "line 12: 'learn' in [peers.complete] of 'ct1' must be"),
        ("learn = true", "percentile = 101", "'percentile' in [peers.complete] of 'ct1' must be"),
        ('"hold"', '"wait"', "must be 'continue', 'hold' or 'drop'"),
        ('ask = "pacs"', 'ask = "pax"', "line 15: [peers.complete] of 'ct1' names 'pax'"),
        (
            "wait_max_s = 600",
            "wait_max_s = 10",
            "line 13: [peers.complete] of 'ct1': quiet_s is 20, longer",
        ),
        (
            "learn = true",
            "quiet_min_s = 400",
            "line 12: [peers.complete] of 'ct1': quiet_min_s is 400",
        ),
        ("quiet_s = 5", "quiet_s = 700", "of 'heads', for peer 'ct1': quiet_s is 700"),
        ("quiet_s = 5", "quiet_max_s = 1", "of 'heads', for peer 'ct1': quiet_min_s is 5, longer"),
        ("quiet_s = 5", 'ask = "pax"', "[rules.complete] of 'heads' names 'pax'"),
        ("quiet_s = 5", "quiet_s = nan", "'quiet_s' in [rules.complete] of 'heads' must be"),
        (
            'name = "thin"\n',
            "",
            "line 17: [[peers.complete.series]] number 1 of 'ct1' lacks the key 'name'",
        ),
        (
            "SliceThickness",
            "SliceThicknes",
            "line 20: [[peers.complete.series]] number 1 of 'ct1': Unknown attribute",
        ),
        (
            '{ attribute = "SliceThickness", to = 1.5 }',
            '{ peer = "ct1" }',
            "line 20: [[peers.complete.series]] number 1 of 'ct1': Only attributes",
        ),
        ('  { attribute = "SliceThickness", to = 1.5 },  # or less', "", "any series would do"),
        (
            '[[peers]]\nname = "mr1"',
            '[[peers.complete.series]]\nname = "thin"\n'
            'when = [{ attribute = "KVP", to = 1 }]\n[[peers]]\nname = "mr1"',
            "2 series in [peers.complete] of 'ct1' are called 'thin'",
        ),
        ("[peers.complete]", "[peers.completed]", "did you mean 'complete'?"),
    ],
)
def test_each_mistake_has_its_sentence(
    faults: Callable[[str, str], list[str]], old: str, new: str, said: str
) -> None:
    told = faults(old, new)
    assert any(said in sentence for sentence in told), told
    assert all(sentence.startswith("line ") for sentence in told)


def test_what_is_probably_not_meant_is_remarked(path: Path) -> None:
    assert remarks(load(path, {})) == ()
    path.write_text(TEXT.replace("wait_max_s = 600", "wait_max_s = 0"))
    told = [remark.sentence for remark in remarks(load(path, {}))]
    assert any("'hold', but there is no limit" in sentence for sentence in told)
    assert any("waits for ever" in sentence for sentence in told)
    path.write_text(TEXT.replace("wait_max_s = 600", "wait_max_s = 60"))
    told = [remark.sentence for remark in remarks(load(path, {}))]
    assert any(sentence.startswith("quiet_max_s in [peers.complete]") for sentence in told)


def test_values_in_nested_tables_tell_their_origin(path: Path) -> None:
    _, values = explain(path)
    found = {value.key: (value.value, value.origin) for value in values}
    assert found["peers.ct1.complete.wait_max_s"] == (600, "secondread.toml:13")
    assert found["peers.ct1.complete.percentile"] == (99.0, "default")
    assert found["peers.mr1.complete.learn"] == (False, "default")
    assert found["rules.heads.complete.quiet_s"] == (5, "secondread.toml:47")
    assert "rules.heads.complete.learn" not in found


def change(kind: Kind, row: str, **values: object) -> RowChange:
    return RowChange(kind, "peers", row, values)


def test_changing_a_peer_leaves_its_nested_tables_alone(path: Path) -> None:
    write(path, lambda _: [change(Kind.CHANGE, "ct1", tls=False, addresses=["10.1.1.9"])])
    text = path.read_text()
    for line in TEXT.splitlines():
        assert line in text or line == 'addresses = ["10.1.1.1"]'
    before, after = load(path, {}).peers[0], text.index("tls = false")
    assert before.addresses == ("10.1.1.9",)
    assert before.complete is not None
    assert before.complete.ask == "pacs"
    assert after < text.index("[peers.complete]")


def test_a_new_peer_goes_below_the_nested_tables_of_the_last(path: Path) -> None:
    new = change(Kind.ADD, "us1", name="us1", ae_title="US1", addresses=["10.1.1.3"])
    write(path, lambda _: [new])
    assert [peer.name for peer in load(path, {}).peers] == ["ct1", "mr1", "us1"]


def test_removing_a_peer_removes_its_nested_tables(path: Path) -> None:
    text = TEXT[: TEXT.index("[[rules]]")]
    path.write_text(text)
    write(path, lambda _: [change(Kind.REMOVE, "ct1")])
    after = path.read_text()
    assert "complete" not in after
    assert [peer.name for peer in load(path, {}).peers] == ["mr1"]


def test_a_peer_is_found_wherever_a_rule_names_it() -> None:
    rule = {"name": "r", "peers": ["a"], "when": [{"not": {"any": [{"peer": ["b", "a"]}]}}]}
    assert list(named_peers(rule)) == [
        (("peers", 0), "a"),
        (("when", 0, "not", "any", 0, "peer", 0), "b"),
        (("when", 0, "not", "any", 0, "peer", 1), "a"),
    ]
    assert rules_naming({"rules": [rule]}, "b") == ("r",)
    assert rules_naming({"rules": [rule]}, "c") == ()


def test_a_new_name_of_a_peer_reaches_the_conditions_that_name_it(path: Path) -> None:
    def plan(_: object) -> list[RowChange]:
        raw = read_source(path, {}).raw
        return [change(Kind.CHANGE, "ct1", name="ct9"), *renamings(raw, "ct1", "ct9")]

    write(path, plan)
    expected = TEXT.replace('name = "ct1"', 'name = "ct9"')
    expected = expected.replace('{ peer = ["ct1", "mr1"] }', '{ peer = ["ct9", "mr1"] }')
    expected = expected.replace('{ peer = "ct1" }', '{ peer = "ct9" }')
    assert path.read_text() == expected
    assert 'is = "ct1"' in expected


def test_a_change_of_what_is_waited_for_applies_while_the_node_runs(path: Path) -> None:
    watch = Watch(path, load(path, {}), {})
    assert watch.check() is None
    path.write_text(TEXT.replace("wait_max_s = 600", "wait_max_s = 700"))
    assert watch.check() is None
    found = watch.check()
    assert found is not None
    assert (found.live, found.restart, found.altered) == (("peers",), (), ("ct1",))
    path.write_text(TEXT.replace("quiet_s = 5", "quiet_s = 6"))
    watch.check()
    found = watch.check()
    assert found is not None
    assert found.restart == ("rules",)


def test_a_longest_wait_that_nobody_set_leaves_room_for_two_quiet_times(path: Path) -> None:
    path.write_text(TEXT.replace('ae_title = "MR1"', 'ae_title = "MR1"\nquiet_s = 7200'))
    slow = next(peer for peer in load(path, {}).peers if peer.name == "mr1")
    assert slow.complete is not None
    assert slow.complete.wait_max_s == 14400
