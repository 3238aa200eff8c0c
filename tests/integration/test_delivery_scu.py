"""The SCU against peers that behave and peers that do not."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pynetdicom import AE, evt
from pynetdicom.sop_class import MRImageStorage, Verification

from secondread.delivery.address import Address
from secondread.delivery.statuses import CONTEXT_REFUSED
from secondread.delivery.store_scu import echo, send_files, send_one
from secondread.errors import PeerRefusedError, PeerUnreachableError


def scp(handler: Callable[[Any], int], classes: tuple[str, ...] = (MRImageStorage,)) -> Any:
    """A storage SCP whose answers the test decides; on a free loopback port."""
    entity = AE("PACS")
    entity.require_called_aet = True
    for sop_class in (*classes, Verification):
        entity.add_supported_context(sop_class)
    return entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, handler)]
    )


def address_of(server: Any, called: str = "PACS", timeout_s: float = 5.0) -> Address:
    """Where that SCP listens."""
    return Address("127.0.0.1", server.server_address[1], called, "SECONDREAD", timeout_s)


def test_files_arrive_byte_for_byte_in_order(head_series: Callable[..., Any]) -> None:
    received: list[tuple[str, bytes]] = []

    def keep(event: Any) -> int:
        received.append((str(event.request.AffectedSOPInstanceUID), event.encoded_dataset(False)))
        return 0x0000

    paths = head_series("coronal").paths
    server = scp(keep)
    results = list(send_files(paths, address_of(server)))
    server.shutdown()
    assert [result.path for result in results] == paths
    assert all(result.stored for result in results)
    assert [uid for uid, _ in received] == [str(dcmread(p).SOPInstanceUID) for p in paths]
    for path, (_, data) in zip(paths, received, strict=True):
        assert path.read_bytes().endswith(data)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (0xA700, PeerUnreachableError),
        (0x0213, PeerUnreachableError),
        (0xA900, PeerRefusedError),
        (0xC000, PeerRefusedError),
        (0x0122, PeerRefusedError),
    ],
)
def test_refusals_are_told_apart(
    head_series: Callable[..., Any], status: int, error: type[Exception]
) -> None:
    server = scp(lambda event: status)
    with pytest.raises(error, match=f"0x{status:04X}"):
        send_one(head_series().paths[0], address_of(server))
    server.shutdown()


def test_warning_counts_as_stored(head_series: Callable[..., Any]) -> None:
    server = scp(lambda event: 0xB000)
    assert "coercion" in send_one(head_series().paths[0], address_of(server))
    server.shutdown()


def test_refused_context_is_said(head_series: Callable[..., Any]) -> None:
    mr, ct = head_series("axial"), head_series("axial", modality="CT", seed="ct")
    server = scp(lambda event: 0x0000)
    results = list(send_files([ct.paths[0], mr.paths[0]], address_of(server)))
    assert [result.status for result in results] == [CONTEXT_REFUSED, 0x0000]
    with pytest.raises(PeerRefusedError, match="none of the SOP classes"):
        send_one(ct.paths[0], address_of(server))
    server.shutdown()


def test_peer_that_drops_the_connection_is_noticed_at_once(
    head_series: Callable[..., Any],
) -> None:
    def drop(event: Any) -> int:
        event.assoc.dul.socket.close()
        return 0x0000

    server = scp(drop)
    started = time.monotonic()
    with pytest.raises(PeerUnreachableError, match="closed the connection before it answered"):
        list(send_files(head_series().paths, address_of(server, timeout_s=60.0)))
    assert time.monotonic() - started < 30
    server.shutdown()


def test_peer_that_is_not_there_is_said_in_words(free_port: Callable[[], int]) -> None:
    answer = echo(Address("127.0.0.1", free_port(), "PACS", "SECONDREAD", 2.0))
    assert not answer.ok
    assert "nobody listens" in answer.sentence
    answer = echo(Address("no-such-host.invalid", 104, "PACS", "SECONDREAD", 2.0))
    assert "not known" in answer.sentence


def test_wrong_called_title_is_said_in_words() -> None:
    server = scp(lambda event: 0x0000)
    assert echo(address_of(server)).ok
    answer = echo(address_of(server, called="OTHER"))
    assert not answer.ok
    assert "is not the called AE title" in answer.sentence
    server.shutdown()


def test_dcmtk_takes_what_we_send(
    head_series: Callable[..., Any],
    dcmtk: Callable[[str], str],
    free_port: Callable[[], int],
    tmp_path: Path,
) -> None:
    folder, port = tmp_path / "received", free_port()
    folder.mkdir()
    server = subprocess.Popen(
        [dcmtk("storescp"), "--output-directory", str(folder), "-aet", "PACS", str(port)]
    )
    address = Address("127.0.0.1", port, "PACS", "SECONDREAD", 10.0)
    try:
        until = time.monotonic() + 20
        while not echo(address).ok:
            assert time.monotonic() < until
        paths = head_series("oblique").paths
        assert all(result.stored for result in send_files(paths, address))
    finally:
        server.terminate()
        server.wait(timeout=20)
    found = {str(dcmread(p).SOPInstanceUID): dcmread(p).PixelData for p in folder.iterdir()}
    assert found == {str(dcmread(p).SOPInstanceUID): dcmread(p).PixelData for p in paths}


def test_what_a_pacs_says_of_an_object_is_for_whoever_sends_it_alone(
    head_series: Callable[..., Any],
) -> None:
    def refuse(event: Any) -> Dataset:
        answer = Dataset()
        answer.Status, answer.ErrorComment = 0xC000, f"no {event.dataset.PatientID}"
        return answer

    path = head_series(patient_id="P7").paths[0]
    server = scp(refuse)
    with pytest.raises(PeerRefusedError) as raised:
        send_one(path, address_of(server))
    (result,) = send_files([path], address_of(server))
    server.shutdown()
    assert "P7" not in str(raised.value)
    assert result.told == f"{result.meaning}: no P7"
