"""The conformance statement says what the code does."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conformance import generate, tables

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_generated_blocks_are_up_to_date():
    text = generate.STATEMENT.read_text(encoding="utf-8")
    assert generate.render(text) == text, "run: python -m conformance.generate"


def test_rendering_replaces_what_is_stale():
    text = generate.STATEMENT.read_text(encoding="utf-8")
    stale = text.replace("1.2.840.10008.5.1.4.1.1.4 ", "1.2.3 ")
    assert stale != text
    assert generate.render(stale) == text


def test_a_block_without_a_table_is_an_error():
    with pytest.raises(ValueError, match="no such table"):
        generate.render("<!-- generated: no such table -->\n<!-- end -->")


def test_each_rejection_is_the_one_of_the_standard():
    rows = [line.split(" | ") for line in tables.association_rejections().splitlines()[2:]]
    triples = [(row[1][0], row[2][0], row[3]) for row in rows]
    assert triples == [
        ("2", "3", "1"),
        ("2", "3", "2"),
        ("1", "1", "3"),
        ("1", "1", "3"),
        ("1", "1", "1"),
        ("1", "1", "1"),
        ("1", "1", "7"),
        ("1", "1", "1"),
        ("1", "1", "1"),
        ("2", "1", "1"),
        ("2", "3", "2"),
        ("2", "3", "2"),
    ]


def test_every_code_of_the_allow_list_and_the_quotas_is_in_the_statement():
    """A refusal that the statement does not know would be found here."""
    found = set()
    for module in ("peers", "quotas"):
        text = (REPOSITORY / "node" / "secondread" / "access" / f"{module}.py").read_text()
        found |= set(re.findall(r'^ +"([a-z]+(?:-[a-z]+)+)",$', text, re.MULTILINE))
    assert len(found) >= 9
    listed = tables.association_rejections()
    assert {code for code in found if f"`{code}`" not in listed} == set()


@pytest.fixture
def intake_port(tmp_path, free_port):
    """The port of an intake process as a service manager runs it."""
    port = free_port()
    path = tmp_path / "secondread.toml"
    path.write_text(
        f'[node]\nae_title = "NODE"\ndata_dir = "data"\n[dicom]\nhost = "127.0.0.1"\n'
        f'port = {port}\n[[peers]]\nname = "mr1"\nae_title = "MR1"\naddresses = ["127.0.0.1"]\n'
    )
    command = [sys.executable, "-m", "secondread", "serve", "--role", "intake", "--config", path]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stderr=log)
    try:
        _wait_for(port, process)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(30)
        finally:
            process.kill()
            process.wait()


def _wait_for(port, process):
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert process.poll() is None, "the node ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    pytest.fail("the node does not listen")


def test_every_context_of_the_statement_is_offered_by_the_node(intake_port):
    """Asks a listening node, so that the statement cannot drift from the wire."""
    from pynetdicom import AE

    from secondread.dicom.contexts import STORAGE_SOP_CLASSES, TRANSFER_SYNTAXES

    # An association carries at most 128 presentation contexts (PS3.8 9.3.2.2).
    pairs = [(c.uid, t.uid) for c in STORAGE_SOP_CLASSES for t in TRANSFER_SYNTAXES[::6]]
    services = tables.other_services() + tables.accepted_sop_classes().split("\n")[2]
    messages = [t.uid for t in (TRANSFER_SYNTAXES[0], TRANSFER_SYNTAXES[1], TRANSFER_SYNTAXES[3])]
    uids = re.findall(r"\| (1\.2\.840\.10008\.[0-9.]+) ", services)
    assert len(uids) == 5
    pairs += [(uid, syntax) for uid in uids for syntax in messages]
    refused = []
    for start in range(0, len(pairs), 128):
        caller = AE("MR1")
        for sop_class, syntax in pairs[start : start + 128]:
            caller.add_requested_context(sop_class, syntax)
        association = caller.associate("127.0.0.1", intake_port, ae_title="NODE")
        assert association.is_established
        refused += association.rejected_contexts
        association.release()
    assert refused == []
