"""The conformance statement says what the code does."""

from __future__ import annotations

import pytest

from conformance import generate, tables


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
    assert triples == [("1", "1", "3"), ("1", "1", "3"), ("1", "1", "7"), ("2", "3", "2")]


def test_every_context_of_the_statement_is_offered_by_the_node(free_port, tmp_path):
    """Asks a listening server, so that the statement cannot drift from the wire."""
    from pynetdicom import AE

    from secondread.access.peers import AccessList
    from secondread.dicom.contexts import STORAGE_SOP_CLASSES, TRANSFER_SYNTAXES
    from secondread.domain.clock import SystemClock
    from secondread.domain.network import Peer
    from secondread.intake.server import ServerSettings, StorageServer
    from secondread.intake.storing import Limits, ObjectStore
    from secondread.store import Ledger, Spool

    spool = Spool(tmp_path)
    spool.prepare()
    ledger = Ledger.open(tmp_path)
    clock = SystemClock()
    server = StorageServer(
        ServerSettings("NODE", "127.0.0.1", free_port(), 5, 10.0),
        AccessList([Peer("mr1", "MR1", ("127.0.0.1",), 30.0)], "NODE"),
        ObjectStore(ledger, spool, Limits(2**20, 0), clock),
        ledger,
        clock,
        b"secret",
    )
    port = server.start()
    try:
        refused = []
        # An association carries at most 128 presentation contexts (PS3.8 9.3.2.2).
        pairs = [(c.uid, t.uid) for c in STORAGE_SOP_CLASSES for t in TRANSFER_SYNTAXES[::6]]
        for start in range(0, len(pairs), 128):
            caller = AE("MR1")
            for sop_class, syntax in pairs[start : start + 128]:
                caller.add_requested_context(sop_class, syntax)
            association = caller.associate("127.0.0.1", port, ae_title="NODE")
            assert association.is_established
            refused += association.rejected_contexts
            association.release()
    finally:
        server.stop()
        ledger.close()
    assert refused == []
