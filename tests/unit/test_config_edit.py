"""Changing the operator's file: nothing lost, nothing half-written, nobody overtaken."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
import threading
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondread.config import edit
from secondread.config.blocks import Kind, RowChange, apply, block_of
from secondread.config.edit import Draft, Plan, draft, write
from secondread.config.load import load
from secondread.config.template import render_template
from secondread.domain.condition import PeerTest
from secondread.errors import ConfigurationError

TEXT = """\
# The node of the hospital.
[node]
data_dir = 'data'   # a local disk

# The scanners.
[[peers]]  # in room 1
name = "ct1"
# moved in May
ae_title = "CT1"      # as the service man set it
addresses = [
  "10.1.1.1",  # the console
  # its spare
  "10.1.1.2",
]

# This is about the rule below.
[[rules]]
name = "heads"
model = "m"
destinations = ["pacs"]
peers = ["ct1", "mr1"]  # both

[[peers]]
name = "mr1"
ae_title = 'MR1'
addresses = ["10.1.1.3"]
quiet_s = 12.5

# The PACS.
[[destinations]]
name = "pacs"
ae_title = "PACS"
host = "pacs"
port = 104

[[models]]
id = "m"
path = "m"
"""


def change(kind: Kind, row: str, table: str = "peers", /, **values: object) -> RowChange:
    return RowChange(kind, table, row, values)


def one(what: RowChange) -> Plan:
    return lambda _: [what]


def new_peer(name: str, title: str = "") -> RowChange:
    values = {"name": name, "ae_title": title or name.upper(), "addresses": ["10.9.9.9"]}
    return change(Kind.ADD, name, **values)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "node.toml"
    file.write_text(TEXT)
    return file


def missing(before: str, after: str) -> list[str]:
    """The lines that are gone."""
    left = after.splitlines()
    gone = []
    for line in before.splitlines():
        if line in left:
            left.remove(line)
        elif line:
            gone.append(line)
    return gone


def test_a_new_peer_goes_below_the_last_and_moves_nothing(path: Path) -> None:
    made = write(path, one(new_peer("us1")))
    assert made.changed
    assert path.read_text() == made.text
    block = '\n[[peers]]\nname = "us1"\nae_title = "US1"\naddresses = ["10.9.9.9"]\n'
    assert made.text == TEXT.replace("quiet_s = 12.5\n", f"quiet_s = 12.5\n{block}")
    assert made.blocks == (block.lstrip("\n"),)
    assert [peer.name for peer in load(path).peers] == ["ct1", "mr1", "us1"]


def test_the_first_peer_goes_below_the_example_of_the_template() -> None:
    text = render_template(Path("/data"))
    after = apply(text, new_peer("us1"))
    assert missing(text, after) == []
    at = after.index("\n[[peers]]")
    assert text.index("# [[peers]]") < at < text.index("# Where results can go")
    assert apply(after, change(Kind.REMOVE, "us1")) == text


def test_the_first_peer_of_a_bare_file_goes_to_its_end() -> None:
    for text in ("", "[log]\nlevel = 'info'", "# [[peers]]\nkey = 1\n"):
        after = apply(text, new_peer("us1"))
        assert after.startswith(text)
        assert tomllib.loads(after)["peers"][0]["name"] == "us1"


def test_a_change_keeps_comments_and_the_way_things_are_written(path: Path) -> None:
    values = {"addresses": ["10.1.1.1", "10.1.1.2", "10.1.1.9"], "ae_title": "CT9", "tls": False}
    made = write(path, one(change(Kind.CHANGE, "ct1", **values)))
    assert missing(TEXT, made.text) == ['ae_title = "CT1"      # as the service man set it']
    assert 'ae_title = "CT9"      # as the service man set it' in made.text
    assert '  "10.1.1.9",\n]\ntls = false\n\n# This is about the rule below.' in made.text
    made = write(path, one(change(Kind.CHANGE, "ct1", addresses=["10.1.1.9"], tls=None)))
    assert load(path).peers[0].addresses == ("10.1.1.9",)
    assert "tls" not in block_of(made.text, "peers", "ct1")


def test_rows_that_stand_apart_are_told_apart(path: Path) -> None:
    write(path, one(change(Kind.CHANGE, "mr1", quiet_s=None)))
    assert missing(TEXT, path.read_text()) == ["quiet_s = 12.5"]
    assert [peer.quiet_s for peer in load(path).peers] == [30.0, 30.0]


def test_removing_keeps_what_belongs_to_others() -> None:
    after = apply(TEXT, change(Kind.REMOVE, "mr1"))
    gone = ["[[peers]]", 'name = "mr1"', "ae_title = 'MR1'", 'addresses = ["10.1.1.3"]']
    assert missing(TEXT, after) == [*gone, "quiet_s = 12.5"]
    assert "\n\n# The PACS.\n[[destinations]]" in after


def test_several_changes_are_one(path: Path) -> None:
    def plan(_: object) -> Sequence[RowChange]:
        return [
            change(Kind.CHANGE, "ct1", name="ct2"),
            change(Kind.CHANGE, "heads", "rules", peers=["ct2", "mr1"]),
        ]

    made = write(path, plan)
    assert 'peers = ["ct2", "mr1"]  # both' in made.text
    assert made.blocks[0].startswith('[[peers]]  # in room 1\nname = "ct2"\n')
    assert load(path).rules[0].when == (PeerTest(("ct2", "mr1")),)


def test_nothing_is_written_that_would_not_be_sound(path: Path) -> None:
    for what, said in (
        (change(Kind.CHANGE, "ct1", ae_title="MR1"), "has the AE title of"),
        (change(Kind.CHANGE, "ct1", name="ct2"), "not among the [[peers]]"),
        (change(Kind.CHANGE, "ct1", quiet_s=-1.0), "must be at least 0.1"),
        (change(Kind.CHANGE, "ct1", addresses=["x"]), "not an IP address"),
        (change(Kind.CHANGE, "ct1", colour="red"), "Unknown key 'colour'"),
        (change(Kind.REMOVE, "mr1"), "not among the [[peers]]"),
        (new_peer("ct1", "OTHER"), "each needs a name of its own"),
    ):
        with pytest.raises(ConfigurationError, match="Nothing was written") as refused:
            write(path, one(what))
        assert said in str(refused.value)
        assert "line " not in str(refused.value)
    assert path.read_text() == TEXT
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_is_not_sound_is_left_alone(path: Path) -> None:
    path.write_text(TEXT + "colour = 1\n")
    with pytest.raises(ConfigurationError, match=r"has one fault:\n  line \d+: Unknown key"):
        write(path, one(new_peer("us1")))
    assert path.read_text() == TEXT + "colour = 1\n"


def test_peers_that_are_written_inline_are_left_to_a_person(path: Path) -> None:
    text = 'peers = [{name = "a", ae_title = "A", addresses = ["10.0.0.1"]}]\n'
    path.write_text(text)
    for what in (new_peer("b"), change(Kind.CHANGE, "a", quiet_s=1.0), change(Kind.REMOVE, "a")):
        with pytest.raises(ConfigurationError, match="by hand"):
            write(path, one(what))
    assert path.read_text() == text


def test_text_that_only_looks_like_a_table_is_not_taken_for_one() -> None:
    text = 'note = """\n[[peers]]\nname = "no"\n# [[peers]]\n"""\n' + TEXT
    after = apply(text, change(Kind.CHANGE, "ct1", quiet_s=1.0))
    assert after.startswith(text[: text.index("# The node")])
    assert apply(apply(text, new_peer("us1")), change(Kind.REMOVE, "us1")) == text


def test_mode_owner_and_line_ends_stay(path: Path) -> None:
    path.write_bytes(TEXT.replace("\n", "\r\n").encode())
    path.chmod(0o640)
    if os.getuid() == 0:
        os.chown(path, 12345, 23456)
    before = path.stat()
    write(path, one(new_peer("us1")))
    after = path.stat()
    assert stat.S_IMODE(after.st_mode) == 0o640
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    assert after.st_mtime_ns > before.st_mtime_ns
    assert after.st_ino != before.st_ino
    content = path.read_bytes()
    assert content.count(b"\r\n") == content.count(b"\n")


def test_a_link_is_followed_and_stays_a_link(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "etc" / "secondread.toml"
    link.parent.mkdir()
    link.symlink_to(path)
    made = write(link, one(new_peer("us1")))
    assert link.is_symlink()
    assert made.path == link
    assert "us1" in path.read_text()
    # Relative paths count from the link's folder, before and after.
    assert load(link).data_dir == link.parent / "data"


def test_what_is_like_that_already_is_not_written(path: Path) -> None:
    before = path.stat()
    made = write(path, one(change(Kind.CHANGE, "mr1", quiet_s=12.5)), around=forbidden)
    after = path.stat()
    assert not made.changed
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@contextmanager
def forbidden(made: Draft):  # type: ignore[no-untyped-def]
    raise AssertionError(made)
    yield


def test_a_draft_writes_nothing(path: Path) -> None:
    made = draft(path, one(new_peer("us1")))
    assert made.changed
    assert "us1" in made.text
    assert path.read_text() == TEXT


def test_what_goes_wrong_around_it_undoes_it(path: Path) -> None:
    @contextmanager
    def around(made: Draft):  # type: ignore[no-untyped-def]
        raise ConfigurationError("no.")
        yield

    with pytest.raises(ConfigurationError, match=r"no\."):
        write(path, one(new_peer("us1")), around=around)
    assert path.read_text() == TEXT


def test_two_at_once_do_not_lose_one_anothers_change(path: Path) -> None:
    failures: list[BaseException] = []

    def add(number: int) -> None:
        try:
            write(path, one(new_peer(f"us{number}")))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(load(path).peers) == 10
    assert list(path.parent.iterdir()) == [path]


def test_an_editor_that_saves_meanwhile_is_not_overwritten(path: Path) -> None:
    @contextmanager
    def around(made: Draft):  # type: ignore[no-untyped-def]
        path.write_text(TEXT + "# mine\n")
        yield

    with pytest.raises(ConfigurationError, match="Somebody else has just changed"):
        write(path, one(new_peer("us1")), around=around)
    assert path.read_text() == TEXT + "# mine\n"
    assert list(path.parent.iterdir()) == [path]


def test_what_a_killed_command_left_is_no_hindrance(path: Path) -> None:
    (path.parent / f".{path.name}.new").write_text("half")
    write(path, one(new_peer("us1")))
    assert list(path.parent.iterdir()) == [path]


def test_a_lock_that_is_held_too_long_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edit, "LOCK_PATIENCE_S", 0.2)
    with (
        edit._locked(path),
        pytest.raises(ConfigurationError, match=r"has been changing .* nothing was written"),
    ):
        write(path, one(new_peer("us1")))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(
    ("file", "folder", "said"),
    [
        (0o644, 0o777, "Permission denied; nothing was written"),
        (0o666, 0o755, "Permission denied; nothing was written"),
        (0o666, 0o777, "it belongs to 'root'"),
    ],
)
def test_a_file_that_may_not_be_written_is_a_sentence(file: int, folder: int, said: str) -> None:
    # Not pytest's own folder, which is this user's alone.
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "node.toml"
        path.write_text(TEXT)
        path.chmod(file)
        path.parent.chmod(folder)
        assert said in told_to_nobody(path)
        assert path.read_text() == TEXT
        assert list(path.parent.iterdir()) == [path]


def told_to_nobody(path: Path) -> str:
    """What a user without rights is told who adds a peer."""
    code = (
        "import os, sys; from pathlib import Path; from tests.unit import test_config_edit as t;"
        "from secondread.config.edit import write; path = Path(sys.argv[1]);"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: write(path, t.one(t.new_peer('us1')))\n"
        "except PermissionError as error: print(error.filename, error.strerror)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).resolve().parents[2],
        check=True,
    )
    return done.stdout


NAMES = st.sampled_from(["a", "b", "c"])
VALUES: st.SearchStrategy[Mapping[str, object]] = st.fixed_dictionaries(
    {},
    optional={
        "ae_title": st.text("AB _\"'#=[]", min_size=1, max_size=8),
        "addresses": st.lists(st.sampled_from(["10.0.0.1", "::1", "10.0.0.0/8"]), max_size=3),
        "quiet_s": st.one_of(st.none(), st.floats(0.1, 1e5)),
        "tls": st.one_of(st.none(), st.booleans()),
    },
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(Kind), NAMES, VALUES), max_size=8))
def test_any_row_of_changes_keeps_every_other_line(
    changes: list[tuple[Kind, str, Mapping[str, object]]],
) -> None:
    text = TEXT
    for kind, name, values in changes:
        there = {peer["name"] for peer in tomllib.loads(text)["peers"]}
        if (kind is Kind.ADD) == (name in there):
            continue
        text = apply(text, RowChange(kind, "peers", name, {"name": name, **values}))
    own = {line for line in TEXT.splitlines() if line}
    assert own <= set(text.splitlines())
