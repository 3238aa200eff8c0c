"""``secondread peer``: changing the peer list, and letting in who was refused."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from secondread.access.passcodes import verify_passcode
from secondread.access.peers import AccessList, Caller, Refusal
from secondread.access.refusals import RefusalBook
from secondread.audit.chain import first_break
from secondread.cli.main import execute
from secondread.cli.refusal import ago
from secondread.config.load import load
from secondread.domain.clock import SystemClock
from secondread.domain.condition import PeerTest
from secondread.domain.network import USUAL_SERVICES, Peer, Service, Urgency
from secondread.errors import (
    EXIT_CONFIGURATION,
    EXIT_FAILED,
    EXIT_NO_INPUT,
    EXIT_OK,
    EXIT_USAGE,
)
from secondread.store import Ledger
from secondread.store.refusals import RefusedCaller
from secondread.store.trail import TrailRow
from tests.certificates import Certificates, fingerprint

TEXT = """\
# Our node.
[node]
data_dir = "data"

[tls]
port = 2762
certificate = "{folder}/server.pem"
key = "{folder}/server.key"
ca = "{folder}/ca.pem"

# The MR in the cellar.
[[peers]]
name = "mr1"
ae_title = "MR1"
addresses = ["10.1.1.1"]   # fixed

[[rules]]
name = "heads"
model = "m"
destinations = ["pacs"]
peers = ["mr1"]

[[destinations]]
name = "pacs"
ae_title = "PACS"
host = "pacs"
port = 104

[[models]]
id = "m"
path = "m"
"""
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def path(tmp_path: Path, certificates: Certificates) -> Path:
    """A configuration with one peer, which a rule names, and a ledger."""
    file = tmp_path / "node.toml"
    file.write_text(TEXT.format(folder=certificates.folder))
    Ledger.open(tmp_path / "data").close()
    return file


@pytest.fixture
def run(path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run("peer", "list", typed="y\\n")``: exit code, standard output, standard error."""

    def call(*arguments: str, typed: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        capsys.readouterr()
        code = execute(["peer", *arguments, "-c", str(path)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def peer_of(path: Path, name: str) -> Peer:
    (found,) = (peer for peer in load(path).peers if peer.name == name)
    return found


def trail(path: Path, event: str) -> Sequence[TrailRow]:
    with closing(Ledger.open(path.parent / "data")) as ledger, ledger.read() as view:
        assert first_break(view.trail.all()) is None
        return view.trail.of_event(event)


def test_a_peer_is_added_with_everything(path: Path, run: Run, certificates: Certificates) -> None:
    code, out, _ = run(
        *("add", "ct 1", "--ae-title", "CT1", "--address", "10.1.1.2", "--address", "fd00::/64"),
        *("--quiet-s", "12", "--may", "store, echo", "--sop-class", "1.2.840.10008.5.1.4.1.1.2"),
        *("--transfer-syntax", "1.2.840.10008.1.2.1", "--tls", "--host", "ct1", "--port", "104"),
        *("--certificate", str(certificates.client.certificate), "--priority-max", "high"),
        *("--certificate-ca", str(certificates.ca.certificate), "--max-associations", "3"),
        *("--associations-per-hour", "10", "--objects-per-hour", "20", "--gib-per-hour", "1.5"),
        *("--username", "bob", "--passcode-stdin"),
        typed="open sesame\n",
    )
    assert code == EXIT_OK
    assert out == "Added peer 'ct 1'. A running node takes this up within about two seconds.\n"
    peer = peer_of(path, "ct 1")
    assert peer.addresses == ("10.1.1.2", "fd00::/64")
    assert peer.may == {Service.ECHO, Service.STORE}
    assert peer.quotas.associations == 3
    assert peer.quotas.bytes_per_hour == 3 * 512 * 1024**2
    assert peer.priority_max is Urgency.HIGH
    assert peer.certificate_sha256 == fingerprint(certificates.client.certificate)
    assert peer.certificate_ca == str(certificates.ca.certificate)
    assert (peer.tls, peer.username, peer.host, peer.port) == (True, "bob", "ct1", 104)
    assert verify_passcode("open sesame", peer.passcode_hash)
    (row,) = trail(path, "peers-changed")
    assert re.fullmatch(r"Peer 'ct 1' was added by .+\.", row.text)
    assert row.detail["values"]["addresses"] == ["10.1.1.2", "fd00::/64"]
    assert row.detail["values"]["passcode_hash"] == "(set)"
    assert "scrypt" not in json.dumps(dict(row.detail))


def test_what_is_shown_of_a_peer(run: Run) -> None:
    run("edit", "mr1", "--username", "bob", "--passcode-stdin", typed="secret\n")
    code, out, _ = run("show", "mr1")
    assert code == EXIT_OK
    assert re.search(r"AE title +MR1", out)
    assert re.search(r"User name +bob, with a passcode", out)
    assert re.search(r"May do +everything", out)
    assert "scrypt" not in out
    code, out, _ = run("show", "mr1", "--json")
    told = json.loads(out)["peer"]
    assert (told["quotas"]["associations"], told["has_passcode"]) == (50, True)
    assert "scrypt" not in out
    code, _, err = run("show", "mr9")
    assert code == EXIT_NO_INPUT
    assert "There is no peer 'mr9'; the configuration has: mr1." in err


def test_only_what_is_given_changes(path: Path, run: Run) -> None:
    before = path.read_text()
    assert run("edit", "mr1", "--quiet-s", "60")[0] == EXIT_OK
    addresses = 'addresses = ["10.1.1.1"]   # fixed\n'
    assert path.read_text() == before.replace(addresses, f"{addresses}quiet_s = 60.0\n")
    code, out, _ = run("edit", "mr1", "--quiet-s", "60")
    assert (code, out) == (EXIT_OK, "Peer 'mr1' was like that already.\n")
    code, out, _ = run("edit", "mr1", "--may", "echo", "--json")
    told = json.loads(out)
    assert told["peer"]["may"] == ["echo"]
    assert told["path"] == str(path)
    assert run("edit", "mr1", "--may", "")[0] == EXIT_OK
    assert peer_of(path, "mr1").may == USUAL_SERVICES
    assert len(trail(path, "peers-changed")) == 3


def test_an_empty_user_name_takes_the_passcode_along(path: Path, run: Run) -> None:
    run("edit", "mr1", "--username", "bob", "--passcode-stdin", typed="one\n")
    run("edit", "mr1", "--passcode-stdin", typed="two\n")
    assert verify_passcode("two", peer_of(path, "mr1").passcode_hash)
    assert run("edit", "mr1", "--username", "")[0] == EXIT_OK
    assert peer_of(path, "mr1").passcode_hash == ""
    code, _, err = run("edit", "mr1", "--username", "bob")
    assert code == EXIT_USAGE
    assert "--passcode-stdin" in err
    code, _, err = run("edit", "mr1", "--username", "bob", "--passcode-stdin")
    assert code == EXIT_USAGE
    assert "no passcode on standard input" in err


def test_the_passcode_is_asked_for_twice_and_not_shown(path: Path) -> None:
    arguments = ["secondread", "peer", "edit", "mr1", "--username", "bob", "-c", str(path)]
    child, terminal = pty.fork()
    if child == 0:
        code = f"import sys; sys.argv = {arguments!r}; from secondread.cli.main import run; run()"
        os.execv(sys.executable, [sys.executable, "-c", code])
    shown = b""
    for question in (b"Passcode: ", b"Repeat for confirmation: "):
        while question not in shown:
            shown += os.read(terminal, 1024)
        os.write(terminal, b"open sesame\n")
    with suppress(OSError):  # the end of a terminal is an error on Linux
        while more := os.read(terminal, 1024):
            shown += more
    os.close(terminal)
    assert os.waitpid(child, 0)[1] == 0
    assert b"sesame" not in shown
    assert verify_passcode("open sesame", peer_of(path, "mr1").passcode_hash)


def test_a_new_name_is_told_to_the_rules(path: Path, run: Run) -> None:
    code, out, _ = run("edit", "mr1", "--name", "mr_cellar")
    assert code == EXIT_OK
    assert "is called 'mr_cellar' now" in out
    assert "changed too: heads. Rules apply when the node is started" in out
    assert load(path).rules[0].when[0] == PeerTest(("mr_cellar",))


def test_wrong_options_are_sentences(path: Path, run: Run, certificates: Certificates) -> None:
    before = path.read_text()
    key = str(certificates.client.key)
    for arguments, code, said in (
        (["add", "x"], EXIT_USAGE, "--ae-title"),
        (["add", "mr1", "--ae-title", "X", "--address", "::1"], EXIT_USAGE, "already"),
        (["add", "x", "--ae-title", "MR1", "--address", "::1"], EXIT_CONFIGURATION, "'MR1'"),
        (["edit", "mr1"], EXIT_USAGE, "Nothing to change"),
        (["edit", "x", "--quiet-s", "1"], EXIT_NO_INPUT, "no peer 'x'"),
        (["edit", "mr1", "--may", "fly"], EXIT_CONFIGURATION, "'may' in [[peers]] 'mr1'"),
        (["edit", "mr1", "--certificate", key], EXIT_USAGE, "no certificate"),
        (["edit", "mr1", "--certificate", "/no.pem"], EXIT_USAGE, "cannot be read"),
        (["edit", "mr1", "--certificate-ca", "/no.pem"], EXIT_CONFIGURATION, "/no.pem"),
        (["edit", "mr1", "--ae-title", ""], EXIT_CONFIGURATION, "lacks the key 'ae_title'"),
    ):
        told = run(*arguments)
        assert told[0] == code, told
        assert said in told[2]
        assert "Traceback" not in told[2]
    assert path.read_text() == before
    assert trail(path, "peers-changed") == ()


def test_a_certificate_implies_tls(path: Path, run: Run) -> None:
    assert run("edit", "mr1", "--certificate-sha256", ":".join(["AB"] * 32))[0] == EXIT_OK
    assert peer_of(path, "mr1").certificate_sha256 == "ab" * 32
    assert peer_of(path, "mr1").tls
    code, _, err = run("edit", "mr1", "--no-tls")
    assert code == EXIT_USAGE
    assert '--certificate-sha256 ""' in err
    assert run("edit", "mr1", "--no-tls", "--certificate-sha256", "")[0] == EXIT_OK
    assert not peer_of(path, "mr1").tls


def test_removing_asks_and_leaves_rules_whole(path: Path, run: Run) -> None:
    code, _, err = run("remove", "mr1", "--yes")
    assert code == EXIT_USAGE
    assert "[[rules]] 'heads' names it" in err
    assert "an empty list means any peer" in err
    run("add", "ct1", "--ae-title", "CT1", "--address", "::1")
    before = path.read_text()
    assert run("remove", "ct1", typed="n\n")[0] == EXIT_FAILED
    code, _, err = run("remove", "ct1")
    assert code == EXIT_USAGE
    assert "--yes" in err
    assert path.read_text() == before
    code, out, err = run("remove", "ct1", typed="y\n")
    assert code == EXIT_OK
    assert "'CT1' at ::1" in err
    assert out == "Removed peer 'ct1'. A running node takes this up within about two seconds.\n"
    assert path.read_text() == TEXT.format(folder=load(path).tls.ca.parent)
    assert [row.text.split(" by ")[0] for row in trail(path, "peers-changed")] == [
        "Peer 'ct1' was added",
        "Peer 'ct1' was removed",
    ]
    assert json.loads(run("remove", "nobody", "--json")[1])["error"]["code"] == "not-found"


def test_a_trail_that_cannot_be_written_leaves_the_file_alone(path: Path, run: Run) -> None:
    before = path.read_text()
    ledger = path.parent / "data" / "ledger.sqlite"
    for old in ledger.parent.glob("ledger.sqlite*"):
        old.unlink()
    ledger.write_bytes(b"no ledger" * 100)
    code, _, err = run("edit", "mr1", "--quiet-s", "60")
    assert code not in (EXIT_OK, EXIT_USAGE)
    assert "The ledger" in err
    assert path.read_text() == before


def test_before_the_first_start_there_is_no_trail(path: Path, run: Run) -> None:
    for old in (path.parent / "data").iterdir():
        old.unlink()
    assert run("edit", "mr1", "--quiet-s", "60")[0] == EXIT_OK
    assert list((path.parent / "data").iterdir()) == []
    assert run("refused")[1] == "Nobody was refused.\n"
    assert json.loads(run("refused", "--json")[1]) == {"refusals": []}
    code, _, err = run("allow", "1")
    assert code == EXIT_NO_INPUT
    assert "nobody was refused yet" in err


def refuse(path: Path, caller: Caller, times: int = 1) -> Refusal:
    """Have the node's own door refuse a caller, and write it down."""
    settings = load(path)
    access = AccessList(settings.peers, settings.ae_title)
    refusal = access.admit(caller)
    assert isinstance(refusal, Refusal)
    with closing(Ledger.open(path.parent / "data")) as ledger:
        book = RefusalBook(ledger, SystemClock())
        for _ in range(times):
            book.note(refusal, caller, refusal.peer)
        book.flush()
    return refusal


def is_let_in(path: Path, caller: Caller) -> bool:
    settings = load(path)
    return isinstance(AccessList(settings.peers, settings.ae_title).admit(caller), Peer)


def refusals(run: Run) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(run("refused", "--json")[1])["refusals"]
    return listed


def test_the_last_refusals_are_told(path: Path, run: Run) -> None:
    refuse(path, Caller("NEW", "SECONDREAD", "10.9.9.9"), times=3)
    refusal = refuse(path, Caller("MR1", "SECONDREAD", "10.1.1.7"))
    code, out, _ = run("refused")
    assert code == EXIT_OK
    assert re.search(r"\d +NEW +10\.9\.9\.9 +3 +(just now|\d+ s ago) +(just now|\d+ s ago)", out)
    assert "calls from 10.1.1.7" in out
    (last, first) = refusals(run)
    assert (first["code"], first["calling"], first["times"]) == ("unknown-calling-ae", "NEW", 3)
    assert (last["peer"], last["reason"]) == ("mr1", refusal.reason)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", last["last_at"])
    assert len(json.loads(run("refused", "-n", "1", "--json")[1])["refusals"]) == 1


def test_a_stranger_becomes_a_peer(path: Path, run: Run) -> None:
    caller = Caller("CT 1", "SECONDREAD", "10.9.9.9")
    refuse(path, caller)
    number = str(refusals(run)[0]["id"])
    before = path.read_text()
    assert run("allow", number, typed="n\n")[0] == EXIT_FAILED
    assert path.read_text() == before
    code, out, err = run("allow", number, typed="y\n")
    assert code == EXIT_OK
    assert '[[peers]]\nname = "ct_1"\nae_title = "CT 1"\naddresses = ["10.9.9.9"]\n' in err
    assert "'CT 1' at 10.9.9.9 is let in as peer 'ct_1'. A running node" in out
    assert is_let_in(path, caller)
    assert not is_let_in(path, Caller("CT 1", "SECONDREAD", "10.9.9.8"))
    assert refusals(run) == []
    (row,) = trail(path, "peer-allowed")
    assert row.text.startswith("Refusal 1 (unknown-calling-ae) was allowed for peer 'ct_1' by ")
    assert row.detail["refusal"]["address"] == "10.9.9.9"
    code, _, err = run("allow", number)
    assert code == EXIT_NO_INPUT


def test_a_stranger_under_a_name_and_from_a_network(path: Path, run: Run) -> None:
    refuse(path, Caller("MR2", "SECONDREAD", "10.9.9.9"))
    number = str(refusals(run)[0]["id"])
    code, _, err = run("allow", number, "--address", "10.8.0.0/24", "--yes")
    assert code == EXIT_USAGE
    assert "does not hold 10.9.9.9" in err
    assert run("allow", number, "--address", "10.9", "--yes")[0] == EXIT_USAGE
    code, out, _ = run("allow", number, "--name", "mr2", "--address", "10.9.9.0/24", "-y", "--json")
    assert code == EXIT_OK
    told = json.loads(out)
    assert (told["ok"], told["peer"], told["refusal"]["id"]) == (True, "mr2", int(number))
    assert is_let_in(path, Caller("MR2", "SECONDREAD", "10.9.9.200"))


def test_a_stranger_by_tls_is_known_by_its_certificate(path: Path, run: Run) -> None:
    caller = Caller("US1", "SECONDREAD", "10.9.9.9", certificate=b"its certificate")
    refuse(path, caller)
    assert run("allow", str(refusals(run)[0]["id"]), "--yes")[0] == EXIT_OK
    assert is_let_in(path, caller)
    assert not is_let_in(path, Caller("US1", "SECONDREAD", "10.9.9.9"))
    assert not is_let_in(path, Caller("US1", "SECONDREAD", "10.9.9.9", certificate=b"another"))


@pytest.mark.parametrize("address", ["::ffff:10.9.9.9", "fe80::1%eth0", "2001:db8::7"])
def test_addresses_of_ipv6_are_written_so_that_they_fit(path: Path, run: Run, address: str) -> None:
    caller = Caller("US1", "SECONDREAD", address)
    refuse(path, caller)
    assert run("allow", "1", "--yes")[0] == EXIT_OK
    assert is_let_in(path, caller)


def test_a_peer_that_moved_gets_one_more_address(path: Path, run: Run) -> None:
    caller = Caller("MR1", "SECONDREAD", "10.1.1.7")
    refuse(path, caller)
    number = str(refusals(run)[0]["id"])
    assert run("allow", number, "--name", "x", "--yes")[0] == EXIT_USAGE
    run("edit", "mr1", "--name", "mr_cellar")
    code, out, _ = run("allow", number, "--yes")
    assert code == EXIT_OK
    assert "'mr_cellar' may call from 10.1.1.7 too, besides 10.1.1.1." in out
    assert 'addresses = ["10.1.1.1", "10.1.1.7"]   # fixed' in path.read_text()
    assert is_let_in(path, caller)


def test_what_was_allowed_by_hand_meanwhile_needs_no_change(path: Path, run: Run) -> None:
    refuse(path, Caller("MR1", "SECONDREAD", "10.1.1.7"))
    run("edit", "mr1", "--address", "10.1.1.1", "--address", "10.1.1.7")
    code, _, err = run("allow", "1", "--yes")
    assert code == EXIT_FAILED
    assert "needs no change: peer 'mr1' has that already" in err


def test_a_renewed_certificate_takes_the_place_of_the_old(path: Path, run: Run) -> None:
    run("edit", "mr1", "--certificate-sha256", "ab" * 32)
    caller = Caller("MR1", "SECONDREAD", "10.1.1.1", certificate=b"renewed")
    refuse(path, caller)
    number = str(refusals(run)[0]["id"])
    assert run("allow", number, "--address", "10.1.1.0/24", "--yes")[0] == EXIT_USAGE
    code, _, err = run("allow", number, typed="y\n")
    assert code == EXIT_OK
    assert f"SHA-256 {caller.fingerprint}, before {'ab' * 32}" in err
    assert is_let_in(path, caller)


def test_a_certificate_of_another_ca_is_not_allowed_from_here(
    path: Path, run: Run, certificates: Certificates
) -> None:
    run("edit", "mr1", "--certificate-ca", str(certificates.other_ca.certificate))
    pem = certificates.client.certificate.read_text()
    refuse(path, Caller("MR1", "SECONDREAD", "10.1.1.1", certificate=_der(pem)))
    code, out, err = run("allow", str(refusals(run)[0]["id"]), "--json")
    assert code == EXIT_FAILED
    assert json.loads(out)["ok"] is False
    assert "--certificate-ca FILE" in err


def _der(pem: str) -> bytes:
    import ssl

    return ssl.PEM_cert_to_DER_cert(pem)


@pytest.mark.parametrize(
    ("code", "calling", "said"),
    [
        ("unknown-called-ae", "MR1", "this node is 'SECONDREAD'"),
        ("tls-required", "MR1", "peer edit 'mr1' --no-tls"),
        ("identity-missing", "MR1", "--username"),
        ("wrong-identity", "MR1", "--username NAME"),
        ("too-many-associations", "MR1", "--max-associations"),
        ("over-quota", "MR1", "--objects-per-hour"),
        ("disk-low", "MR1", "Make space"),
        ("malformed-request", "", "its maker"),
        ("tls-handshake", "", "peer echo"),
        ("no-service", "MR1", "--may"),
        ("something-new", "MR1", "It was told then: because {it} is so."),
        ("unknown-calling-ae", "(more, under other titles)", "cannot be told for certain"),
        ("unknown-calling-ae", "M?1", "cannot be told for certain"),
        ("wrong-certificate", "MR1", "showed no certificate"),
    ],
)
def test_what_cannot_be_allowed_from_here_says_where(
    path: Path, run: Run, code: str, calling: str, said: str
) -> None:
    now = time.time()
    row = RefusedCaller(
        code, calling, "X", "10.1.1.1", "", "mr1", "because {it} is so.", now, now, 1
    )
    with closing(Ledger.open(path.parent / "data")) as ledger, ledger.begin() as change:
        change.refusals.merge(row)
    before = path.read_text()
    exit_code, _, err = run("allow", "1", "--yes")
    assert exit_code == EXIT_FAILED
    assert said in err
    assert path.read_text() == before
    assert len(refusals(run)) == 1


def test_a_title_that_has_become_a_peer_is_told(path: Path, run: Run) -> None:
    refuse(path, Caller("NEW", "SECONDREAD", "10.9.9.9"))
    run("add", "new", "--ae-title", "NEW", "--address", "10.9.9.1")
    code, _, err = run("allow", "1", "--yes")
    assert code == EXIT_USAGE
    assert "Peer 'new' has the AE title 'NEW' by now" in err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "just now"),
        (0.4, "just now"),
        (59, "59 s ago"),
        (90, "2 min ago"),
        (7200, "2 h ago"),
        (3 * 86400, "3 days ago"),
    ],
)
def test_how_long_ago(seconds: float, text: str) -> None:
    assert ago(seconds) == text
