"""The crosswalk: sealed, bound to its key, and told only with a reason."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from secondread.deid.crosswalk import Crosswalk, open_pair, seal_pair
from secondread.deid.keys import (
    Key,
    KeyRing,
    create_key_file,
    key_line,
    put_in_front,
    read_ring,
)
from secondread.deid.rotation import KeyPlace, Rotation
from secondread.domain.clock import SystemClock
from secondread.domain.crosswalk import Access, KeyState, Pair, PairKind
from secondread.errors import CrosswalkKeyError, NotFoundError, UsageError
from secondread.store import Ledger
from secondread.store.ledger import LEDGER_NAME
from tests.planted.scanner import MARK, UID_MARK, Scanner

ACCESS = Access("doctor", "result of the trial")
CLOCK = SystemClock()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger."""
    found = Ledger.open(tmp_path / "data")
    yield found
    found.close()


@pytest.fixture
def place(tmp_path: Path) -> KeyPlace:
    """A key file with one key."""
    path = tmp_path / "keys" / "crosswalk.key"
    create_key_file(path, Key.new())
    return KeyPlace(path, "")


@pytest.fixture
def crosswalk(ledger: Ledger, place: KeyPlace) -> Crosswalk:
    """The crosswalk with the project 'trial'."""
    found = Crosswalk(ledger, place.read(), CLOCK)
    found.project("trial", "")
    return found


def rotation(ledger: Ledger, tmp_path: Path, place: KeyPlace) -> Rotation:
    return Rotation(ledger, tmp_path / "data", place, Access("admin", "yearly"), CLOCK)


def instances(count: int, start: int = 0) -> list[Pair]:
    """Pairs of instances."""
    return [
        Pair(
            PairKind.INSTANCE,
            f"{UID_MARK}.{number}",
            f"2.25.77{number}",
            {"study": f"{UID_MARK}.1", "series": f"{UID_MARK}.2"},
        )
        for number in range(start, start + count)
    ]


def patient(number: int = 1) -> Pair:
    identity = f"id\0\0{MARK}{number:06d}".encode().hex()
    more = {"patient_id": f"{MARK}{number:06d}", "issuer": "Klinik Süd"}
    return Pair(PairKind.PATIENT, identity, f"SRPSEUDONYM{number}", more)


def key_ids(ledger: Ledger) -> dict[str, int]:
    with ledger.read() as view:
        return dict(view.crosswalk.count_by_key())


def trail(ledger: Ledger) -> list[dict[str, object]]:
    with ledger.read() as view:
        return [dict(row.detail) for row in view.trail.of_event("crosswalk", 1000)]


class TestKeys:
    def test_a_key_file_is_its_owners_alone(self, place: KeyPlace) -> None:
        assert place.key_file.stat().st_mode & 0o777 == 0o600
        assert [path.name for path in place.key_file.parent.iterdir()] == ["crosswalk.key"]

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602])
    def test_a_key_that_others_can_read_is_not_used(self, place: KeyPlace, mode: int) -> None:
        place.key_file.chmod(mode)
        with pytest.raises(CrosswalkKeyError, match=rf"mode {mode:04o}.*chmod 600"):
            place.read()

    def test_no_key_is_ever_made_in_silence(self, tmp_path: Path) -> None:
        with pytest.raises(CrosswalkKeyError, match="restore the file from its backup"):
            read_ring(tmp_path / "none", "")
        assert not (tmp_path / "none").exists()

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda line: line[:-5] + "\n",
            lambda line: line.replace(line[:16], "0" * 16),
            lambda line: line[:-3] + ("0" if line[-3] != "0" else "1") + line[-2:],
            lambda line: "password1\n",
        ],
    )
    def test_a_damaged_line_is_told_by_its_number_and_not_shown(self, place, spoil) -> None:
        line = key_line(place.read().newest)
        place.key_file.write_text("# a comment\n\n" + spoil(line))
        with pytest.raises(CrosswalkKeyError, match="Line 3 .* is damaged") as caught:
            place.read()
        assert line[20:40] not in str(caught.value)
        assert "password1" not in str(caught.value)

    def test_an_empty_file_is_told(self, place: KeyPlace) -> None:
        place.key_file.write_text("# nothing\n")
        with pytest.raises(CrosswalkKeyError, match="There is no key in"):
            place.read()

    def test_a_file_is_never_written_over(self, place: KeyPlace) -> None:
        before = place.key_file.read_text()
        with pytest.raises(FileExistsError):
            create_key_file(place.key_file, Key.new())
        assert place.key_file.read_text() == before
        assert len(list(place.key_file.parent.iterdir())) == 1

    def test_a_credential_goes_before_the_file(self, tmp_path: Path, place: KeyPlace) -> None:
        key = Key.new()
        (tmp_path / "credentials").mkdir()
        given = tmp_path / "credentials" / "crosswalk"
        given.write_text(key_line(key))
        given.chmod(0o440)
        environment = {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
        ring = read_ring(place.key_file, "crosswalk", environment)
        assert (ring.newest.id, ring.path) == (key.id, None)
        assert read_ring(place.key_file, "another", environment).path == place.key_file
        assert read_ring(place.key_file, "", environment).path == place.key_file
        given.chmod(0o444)
        with pytest.raises(CrosswalkKeyError, match="read or written by others"):
            read_ring(place.key_file, "crosswalk", environment)

    def test_a_key_does_not_show_itself(self) -> None:
        key = Key.new()
        assert key.secret.hex() not in repr(KeyRing((key,), "here", None))

    def test_the_same_is_never_sealed_the_same(self) -> None:
        key = Key.new()
        assert key.seal(b"x", b"") != key.seal(b"x", b"")
        assert key.unseal(key.seal(b"x", b""), b"") == b"x"
        assert len(key.seal(b"x", b"")) == len(key.seal(b"x" * 60, b""))


class TestProjects:
    def test_a_project_keeps_its_key_and_its_uid_root(self, crosswalk: Crosswalk) -> None:
        first, began = crosswalk.project("another", "1.2.3")
        again, began_again = crosswalk.project("another", "9.9")
        assert (began, began_again) == (True, False)
        assert first == again
        assert again.uid_root == "1.2.3"

    def test_projects_have_nothing_in_common(self, crosswalk: Crosswalk) -> None:
        one, _ = crosswalk.project("trial", "")
        other, _ = crosswalk.project("another", "")
        assert one.secret != other.secret
        assert one.pseudonym(b"x") != other.pseudonym(b"x")

    @pytest.mark.parametrize("name", ["", " ", "a/b", "-x", "x ", "x" * 65, "Müller", "a\nb"])
    def test_a_name_is_plain(self, crosswalk: Crosswalk, name: str) -> None:
        with pytest.raises(UsageError, match="cannot be the name of a project"):
            crosswalk.project(name, "")


class TestWayBack:
    def test_it_is_exact(self, crosswalk: Crosswalk) -> None:
        pairs = [patient(), *instances(1200)]
        assert crosswalk.remember("trial", pairs) == 1201
        for pair in (pairs[0], pairs[1], pairs[777], pairs[-1]):
            (found,) = crosswalk.find(f" {pair.pseudonym}\0", ACCESS)
            assert (found.project, found.pair) == ("trial", pair)

    def test_what_is_known_is_not_kept_twice(self, ledger: Ledger, crosswalk: Crosswalk) -> None:
        crosswalk.remember("trial", instances(3))
        assert crosswalk.remember("trial", [*instances(5), *instances(5)]) == 2
        assert sum(key_ids(ledger).values()) == 5

    def test_one_uid_in_two_projects_gives_both(self, crosswalk: Crosswalk) -> None:
        crosswalk.project("another", "")
        kept = [Pair(PairKind.STUDY, "1.2.3", "1.2.3", {})]
        crosswalk.remember("trial", kept)
        crosswalk.remember("another", kept)
        assert {found.project for found in crosswalk.find("1.2.3", ACCESS)} == {"trial", "another"}

    def test_a_patients_dates_find_back_too(self, crosswalk: Crosswalk) -> None:
        crosswalk.remember("trial", [patient()])
        (found,) = crosswalk.find(patient().pseudonym, ACCESS)
        key, _ = crosswalk.project("trial", "")
        assert found.shift_days == key.shift_days(bytes.fromhex(patient().original))

    def test_the_trail_says_who_and_why_but_not_whom(
        self, ledger: Ledger, crosswalk: Crosswalk
    ) -> None:
        crosswalk.remember("trial", [patient(), *instances(2)])
        crosswalk.find(patient().pseudonym, ACCESS)
        crosswalk.find("SRNOBODY", ACCESS)
        crosswalk.find("2.25.771", ACCESS)
        with ledger.read() as view:
            rows = view.trail.of_event("crosswalk")
        assert [row.detail["found"] for row in rows] == [1, 0, 1]
        for row in rows:
            assert row.detail["by"] == "doctor"
            assert row.detail["reason"] == "result of the trial"
            said = f"{row.text} {dict(row.detail)}"
            assert MARK not in said
            assert UID_MARK not in said
            assert "2.25.77" not in said
            assert "PSEUDONYM" not in said

    def test_without_a_reason_nothing_is_told(self, ledger: Ledger, crosswalk: Crosswalk) -> None:
        crosswalk.remember("trial", [patient()])
        with pytest.raises(UsageError, match="Say why"):
            crosswalk.find(patient().pseudonym, Access("doctor", "  "))
        assert trail(ledger) == []

    def test_a_project_must_have_begun(self, crosswalk: Crosswalk) -> None:
        with pytest.raises(NotFoundError, match="no project 'other'"):
            crosswalk.remember("other", instances(1))


class TestLostKey:
    def test_another_key_is_an_error_and_no_new_crosswalk(
        self, ledger: Ledger, crosswalk: Crosswalk
    ) -> None:
        crosswalk.remember("trial", instances(3))
        before = key_ids(ledger)
        other = Crosswalk(ledger, KeyRing((Key.new(),), "'other.key'", None), CLOCK)
        for act in (
            lambda: other.project("trial", ""),
            lambda: other.project("another", ""),
            lambda: other.remember("trial", instances(9)),
            lambda: other.find("2.25.771", ACCESS),
        ):
            with pytest.raises(CrosswalkKeyError, match=r"'other.key' holds only .* from a backup"):
                act()
        assert key_ids(ledger) == before
        assert [found.pair for found in crosswalk.find("2.25.771", ACCESS)] == instances(1, 1)

    def test_a_changed_row_does_not_open(self, ledger: Ledger, crosswalk: Crosswalk) -> None:
        crosswalk.remember("trial", instances(1))
        with ledger.begin() as change:
            (row,) = change.crosswalk.sealed_with(key_ids(ledger), 5)
            spoilt = row.sealed[:-1] + bytes([row.sealed[-1] ^ 1])
            change.crosswalk.replace([replace(row, sealed=spoilt)])
        with pytest.raises(CrosswalkKeyError, match="was changed or is damaged"):
            crosswalk.find("2.25.770", ACCESS)

    def test_a_row_in_the_place_of_another_does_not_open(self) -> None:
        ring = KeyRing((Key.new(),), "here", None)
        one = seal_pair(ring.newest, 1, instances(1)[0])
        other = seal_pair(ring.newest, 1, patient())
        assert open_pair(ring, one) == instances(1)[0]
        for swapped in (
            replace(one, sealed=other.sealed),
            replace(one, project_id=2),
            replace(one, kind=PairKind.SERIES),
        ):
            with pytest.raises(CrosswalkKeyError):
                open_pair(ring, swapped)


class TestRotation:
    def test_all_is_sealed_anew_and_pseudonyms_stay(
        self, ledger: Ledger, tmp_path: Path, place: KeyPlace, crosswalk: Crosswalk
    ) -> None:
        project, _ = crosswalk.project("trial", "")
        crosswalk.remember("trial", [patient(), *instances(1100)])
        told: list[tuple[int, int]] = []
        done = rotation(ledger, tmp_path, place).run(lambda *of: told.append(of))
        ring = place.read()
        assert (done.pairs, done.went_on) == (1101, False)
        assert told[-1] == (1101, 1101)
        assert [key.id for key in ring.keys] == [done.key_id, *done.old]
        assert key_ids(ledger) == {done.key_id: 1101}
        newest = Crosswalk(ledger, KeyRing(ring.keys[:1], "new", None), CLOCK)
        assert newest.project("trial", "") == (project, False)
        assert newest.find("SRPSEUDONYM1", ACCESS)[0].pair == patient()
        assert newest.remember("trial", instances(1101)) == 1
        old = Crosswalk(ledger, KeyRing(ring.keys[1:], "old", None), CLOCK)
        with pytest.raises(CrosswalkKeyError):
            old.find("SRPSEUDONYM1", ACCESS)
        with ledger.read() as view:
            states = {key.id: key.state for key in view.crosswalk.known_keys()}
        assert states == {done.key_id: KeyState.CURRENT, done.old[0]: KeyState.RETIRED}
        steps = [(row["step"], row["by"], row["reason"]) for row in trail(ledger) if "step" in row]
        assert steps == [("begun", "admin", "yearly"), ("done", "admin", "yearly")]

    def test_while_it_lasts_both_keys_read_and_the_new_one_writes(
        self, ledger: Ledger, tmp_path: Path, place: KeyPlace, crosswalk: Crosswalk
    ) -> None:
        def stop(done: int, total: int) -> None:
            raise InterruptedError

        crosswalk.remember("trial", instances(1200))
        with pytest.raises(InterruptedError):
            rotation(ledger, tmp_path, place).run(stop)
        ring = place.read()
        counts = key_ids(ledger)
        assert set(counts) == {key.id for key in ring.keys}
        between = Crosswalk(ledger, ring, CLOCK)
        for pair in instances(1200):
            if pair.original.endswith("7"):
                assert [found.pair for found in between.find(pair.pseudonym, ACCESS)] == [pair]
        assert between.remember("trial", instances(1210)) == 10
        assert key_ids(ledger)[ring.newest.id] == counts[ring.newest.id] + 10
        with pytest.raises(CrosswalkKeyError):
            crosswalk.remember("trial", instances(1))
        done = rotation(ledger, tmp_path, place).run()
        assert done.went_on
        assert done.key_id == ring.newest.id
        assert key_ids(ledger) == {ring.newest.id: 1210}
        assert len(place.read().keys) == 2

    def test_a_credential_needs_its_new_key_from_the_system(
        self, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "given").mkdir()
        path, first, second = tmp_path / "given" / "keys", Key.new(), Key.new()
        path.write_text(key_line(first))
        path.chmod(0o400)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(path.parent))
        given = KeyPlace(tmp_path / "no", "keys")
        kept = Crosswalk(ledger, given.read(), CLOCK)
        kept.project("trial", "")
        kept.remember("trial", instances(5))
        with pytest.raises(CrosswalkKeyError, match="key --print"):
            rotation(ledger, tmp_path, given).run()
        path.chmod(0o600)
        path.write_text(key_line(second) + key_line(first))
        assert rotation(ledger, tmp_path, given).run().key_id == second.id
        assert key_ids(ledger) == {second.id: 5}

    def test_a_key_that_reached_the_file_alone_is_used(
        self, ledger: Ledger, tmp_path: Path, place: KeyPlace, crosswalk: Crosswalk
    ) -> None:
        crosswalk.remember("trial", instances(2))
        ring = put_in_front(place.read(), Key.new())
        assert place.key_file.stat().st_mode & 0o777 == 0o600
        # Until somebody rotates, the ledger's key goes on.
        assert Crosswalk(ledger, ring, CLOCK).remember("trial", instances(3)) == 1
        assert rotation(ledger, tmp_path, place).run().key_id == ring.newest.id
        assert len(place.read().keys) == 2

    def test_without_a_crosswalk_there_is_nothing_to_do(
        self, ledger: Ledger, tmp_path: Path, place: KeyPlace
    ) -> None:
        before = place.key_file.read_text()
        with pytest.raises(NotFoundError, match="no crosswalk yet"):
            rotation(ledger, tmp_path, place).run()
        assert place.key_file.read_text() == before

    def test_kill_9_in_the_middle_loses_nothing(
        self, ledger: Ledger, tmp_path: Path, place: KeyPlace, crosswalk: Crosswalk
    ) -> None:
        count = 8_000
        pairs = instances(count)
        crosswalk.remember("trial", pairs)
        (old,) = key_ids(ledger)
        configuration = tmp_path / "secondread.toml"
        configuration.write_text(
            f'[node]\ndata_dir = "data"\n[deid]\nkey_file = "{place.key_file}"\n'
        )
        command = [sys.executable, "-m", "secondread", "crosswalk", "rotate"]
        command += ["--reason", "test", "--config", str(configuration)]
        child = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            until = time.monotonic() + 60
            while len(key_ids(ledger)) < 2 and time.monotonic() < until:
                assert child.poll() is None
        finally:
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
        counts = key_ids(ledger)
        assert sum(counts.values()) == count
        assert 0 < counts[old] < count, "it was killed too early or too late to tell anything"
        ring = place.read()
        between = Crosswalk(ledger, ring, CLOCK)
        for pair in pairs[:: count // 40]:
            assert between.find(pair.pseudonym, ACCESS)[0].pair == pair
        done = subprocess.run([*command, "--json"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert '"went_on": true' in done.stdout
        assert key_ids(ledger) == {ring.newest.id: count}
        after = Crosswalk(ledger, KeyRing(place.read().keys[:1], "new", None), CLOCK)
        for pair in pairs[:: count // 40]:
            assert after.find(pair.pseudonym, ACCESS)[0].pair == pair


def test_nothing_is_in_clear_in_any_file_of_the_ledger(
    ledger: Ledger, tmp_path: Path, place: KeyPlace, crosswalk: Crosswalk
) -> None:
    crosswalk.remember("trial", [patient(), *instances(700)])
    crosswalk.find(patient().pseudonym, ACCESS)
    crosswalk.find(instances(1)[0].pseudonym, ACCESS)
    rotation(ledger, tmp_path, place).run()
    key, _ = crosswalk_now(ledger, place).project("trial", "")
    clear = [b"PSEUDONYM", b"2.25.77", "Klinik Süd".encode(), "Klinik Süd".encode("latin-1")]
    clear += [key.secret, key.secret.hex().encode()]
    clear += [
        line for each in place.read().keys for line in (each.secret, each.secret.hex().encode())
    ]
    scanner = Scanner(clear, layers=0)
    wal = tmp_path / "data" / f"{LEDGER_NAME}-wal"
    assert wal.stat().st_size > 0
    assert scanner.scan_folder(tmp_path / "data") == {}
    with ledger.begin() as change:
        change.trail.append(0.0, "test", f"{MARK}000001")
    assert scanner.scan(wal.read_bytes()) != []


def crosswalk_now(ledger: Ledger, place: KeyPlace) -> Crosswalk:
    return Crosswalk(ledger, place.read(), CLOCK)


def test_marks_cannot_be_tried_without_the_key(ledger: Ledger, crosswalk: Crosswalk) -> None:
    crosswalk.remember("trial", instances(1))
    with ledger.read() as view:
        (row,) = view.crosswalk.sealed_with(key_ids(ledger), 5)
    stranger = seal_pair(Key.new(), row.project_id, instances(1)[0])
    assert stranger.original_mark != row.original_mark
    assert stranger.pseudonym_mark != row.pseudonym_mark


def test_the_same_original_has_other_marks_in_another_project(crosswalk: Crosswalk) -> None:
    key = Key.new()
    one, other = (seal_pair(key, project, instances(1)[0]) for project in (1, 2))
    assert one.original_mark != other.original_mark
    assert one.pseudonym_mark != other.pseudonym_mark


def test_every_table_of_the_crosswalk_is_covered() -> None:
    from secondread.store.tables import metadata

    names = {name for name in metadata.tables if "crosswalk" in name or name == "export_project"}
    assert names == {"crosswalk", "crosswalk_key", "export_project"}
    texts = {
        f"{name}.{column.name}"
        for name in names
        for column in metadata.tables[name].columns
        if isinstance(column.type, sa.String)
    }
    # Nothing else is text: the rest is sealed, a keyed hash, or a number.
    assert texts == {
        "crosswalk.kind",
        "crosswalk.key_id",
        "crosswalk_key.id",
        "crosswalk_key.state",
        "export_project.name",
        "export_project.key_id",
    }
