"""The diagnosing echo against real peers, broken ones, and things that are no peers at all."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynetdicom.sop_class import MRImageStorage, SegmentationStorage, Verification

from secondread.cli.main import execute
from secondread.delivery.conversation import Conversation
from secondread.delivery.diagnosis import RESULT_CLASSES, conclude, diagnose
from secondread.delivery.link import ConversationError
from secondread.delivery.steps import Outcome
from secondread.domain.network import TlsSettings
from secondread.errors import EXIT_OK, EXIT_UNAVAILABLE, ConfigurationError
from tests.certificates import Certificates
from tests.echo_peers import (
    NAMES,
    TIMEOUT_S,
    VERIFICATION,
    call,
    examine,
    failure,
    nothing,
    ours,
    saying,
    scp,
    server_side,
    shaking_hands,
    storescp,
    tcp_server,
)


def test_storescp_answers(dcmtk: Callable[[str], str], tmp_path: Path) -> None:
    with storescp(dcmtk("storescp"), tmp_path) as port:
        steps = examine(call(port, "localhost", timeout_s=5.0))
    assert "'localhost' is " in steps["name"].sentence
    assert "127.0.0.1" in steps["name"].sentence
    assert steps["tls"].outcome is Outcome.SKIPPED
    assert "'PACS' accepts 'SECONDREAD'" in steps["association"].sentence
    assert steps["storage"].outcome is Outcome.NOTE
    assert "CT, MR" in steps["storage"].sentence
    assert "It does not accept Storage Commitment or C-FIND." in steps["storage"].sentence
    assert "0x0000" in steps["echo"].sentence
    assert f"'PACS' at localhost:{port} answered in " in conclude(
        call(port, "localhost"), tuple(steps.values())
    )


def test_orthanc_answers_and_takes_results(orthanc: Callable[..., Any]) -> None:
    server = orthanc()
    asked = call(server.port, called=server.ae_title, results=RESULT_CLASSES, timeout_s=5.0)
    steps = examine(asked)
    assert "Segmentation and Comprehensive 3D SR too" in steps["storage"].sentence
    assert "answered in" in conclude(asked, tuple(steps.values()))


def test_a_destination_that_takes_no_results_is_told() -> None:
    with scp(classes=(Verification, SegmentationStorage)) as port:
        asked = call(port, results=RESULT_CLASSES)
        steps = examine(asked)
    assert "it refuses Comprehensive 3D SR" in steps["storage"].sentence
    assert "results cannot be stored there" in conclude(asked, tuple(steps.values()))


def test_a_name_that_nobody_knows() -> None:
    name, sentence = failure(call(104, "pacs.invalid", timeout_s=5.0))
    assert name == "name"
    assert "'pacs.invalid'" in sentence
    assert failure(call(104, "a" * 70 + ".example"))[0] == "name"


def test_a_closed_port(free_port: Callable[[], int]) -> None:
    name, sentence = failure(call(free_port()))
    assert name == "tcp"
    assert "nobody listens on that port" in sentence


def test_a_host_that_swallows_the_connection() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        # A full backlog: the system drops further connections, as a firewall would.
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        time.sleep(0.1)
        name, sentence = failure(call(port))
        for filler in fillers:
            filler.close()
    assert name == "tcp"
    assert "does not answer" in sentence
    assert "firewall" in sentence


def test_a_silent_peer() -> None:
    with tcp_server(nothing) as port:
        name, sentence = failure(call(port))
    assert name == "association"
    assert "silent for 1 s" in sentence


def test_a_peer_that_drips() -> None:
    def drip(connection: socket.socket) -> None:
        for byte in b"\x02\x00\x00\x00\x10\x00" + b"\x00" * 64:
            connection.sendall(bytes([byte]))
            time.sleep(0.2)

    with tcp_server(drip) as port:
        name, sentence = failure(call(port))
    assert name == "association"
    assert "silent" in sentence


def test_a_peer_that_closes_at_once() -> None:
    with tcp_server(lambda connection: connection.close()) as port:
        name, sentence = failure(call(port))
    assert name == "association"
    assert "closed the connection without an answer" in sentence
    assert "enter 'SECONDREAD'" in sentence


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "A web server"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not DICOM"),
        (b"\x02\x00\xff\xff\xff\xff", "not DICOM"),
        (b"\x02\x00\x00\x00\x00\x08" + b"\xff" * 8, "not DICOM"),
        (b"\x04\x00\x00\x00\x00\x06" + b"\xff" * 6, "not DICOM"),
        (b"\x02\x00\x00\x00\x01\x00" + b"\x41" * 256, "not DICOM"),
    ],
)
def test_answers_that_are_no_dicom(content: bytes, said: str) -> None:
    with tcp_server(saying(content)) as port:
        name, sentence = failure(call(port))
    assert name == "association"
    assert said in sentence


def item(kind: int, content: bytes) -> bytes:
    """An item of a PDU (PS3.8 9.3)."""
    return bytes([kind, 0]) + len(content).to_bytes(2, "big") + content


CONTENT = (
    bytes([0, 1, 0, 0])
    + b"PACS".ljust(16)
    + b"SECONDREAD".ljust(16)
    + bytes(32)
    + item(0x10, b"1.2.840.10008.3.1.1.1")
    + item(0x21, bytes([1, 0, 0, 0]) + item(0x40, b"1.2.840.10008.1.2.1"))
    + item(0x50, item(0x51, bytes([0, 0, 64, 0])) + item(0x52, b"1.2.3") + item(0x55, b"OTHER 1"))
)
ACCEPTED = bytes([2, 0]) + len(CONTENT).to_bytes(4, "big") + CONTENT


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, len(ACCEPTED)),
    st.integers(0, len(ACCEPTED)),
    st.binary(max_size=12),
    st.binary(max_size=40),
)
def test_whatever_is_answered_is_told_and_not_stumbled_over(
    start: int, length: int, wrong: bytes, after: bytes
) -> None:
    ours_end, theirs = socket.socketpair()
    with ours_end, theirs:
        theirs.sendall(ACCEPTED[:start] + wrong + ACCEPTED[start + length :] + after)
        theirs.shutdown(socket.SHUT_WR)
        talk = Conversation(ours_end, TIMEOUT_S)
        with suppress(ConversationError):
            accepted = talk.associate(call(1).address, [VERIFICATION])
            if VERIFICATION in accepted.contexts:
                talk.echo(accepted, VERIFICATION)


def test_a_sound_answer_is_understood() -> None:
    ours_end, theirs = socket.socketpair()
    with ours_end, theirs:
        theirs.sendall(ACCEPTED)
        accepted = Conversation(ours_end, TIMEOUT_S).associate(call(1).address, [VERIFICATION])
    assert accepted.contexts == {VERIFICATION: 1}
    assert accepted.maximum_length == 0x4000


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x03\x00\x00\x00\x00\x04\x00\x01\x01\x03", "does not know the calling AE title"),
        (b"\x03\x00\x00\x00\x00\x04\x00\x02\x03\x02", "for now because too many associations"),
        (b"\x03\x00\x00\x00\x00\x04\x00\x01\x01\x09", "reason that PS3.8 does not know"),
        (b"\x07\x00\x00\x00\x00\x04\x00\x00\x02\x02", "a PDU that it did not expect"),
        (b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00", "aborted of its own will"),
    ],
)
def test_rejections_and_aborts_are_told_apart(content: bytes, said: str) -> None:
    with tcp_server(saying(content)) as port:
        name, sentence = failure(call(port))
    assert name == "association"
    assert said in sentence


def test_titles_that_are_not_known() -> None:
    with scp(require_calling_aet=["MR1"]) as port:
        name, sentence = failure(call(port))
    assert name == "association"
    assert "does not know the calling AE title 'SECONDREAD'" in sentence
    assert "(result 1, source 1, reason 3)" in sentence
    with scp(require_called_aet=True) as port:
        assert "'OTHER' is not the called AE title" in failure(call(port, called="OTHER"))[1]


def test_no_verification() -> None:
    with scp(classes=(MRImageStorage,)) as port:
        name, sentence = failure(call(port))
    assert name == "contexts"
    assert "not the Verification service" in sentence


def test_an_echo_that_is_refused() -> None:
    with scp(echo=lambda event: 0x0122) as port:
        name, sentence = failure(call(port))
    assert name == "echo"
    assert "0x0122 (SOP class not supported)" in sentence


def test_an_echo_that_is_not_answered() -> None:
    def wait(event: Any) -> int:
        time.sleep(1.5 * TIMEOUT_S)
        return 0x0000

    with scp(echo=wait) as port:
        name, sentence = failure(call(port))
    assert name == "echo"
    assert "silent" in sentence


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_shows_protocol_and_certificate(
    certificates: Certificates, version: ssl.TLSVersion
) -> None:
    context = server_side(certificates, certificates.server)
    context.maximum_version = context.minimum_version = version
    with scp(context=context) as port:
        steps = examine(call(port, tls=ours(certificates)))
    sentence = steps["tls"].sentence
    assert sentence.startswith(version.name.replace("_", "."))
    assert "CN=server" in sentence
    assert "364 days left, SHA-256 " in sentence


def test_storescp_with_tls(
    dcmtk: Callable[[str], str], certificates: Certificates, tmp_path: Path
) -> None:
    own = certificates.server
    options = ("+tls", str(own.key), str(own.certificate), "+cf", str(certificates.ca.certificate))
    with storescp(dcmtk("storescp"), tmp_path, *options) as port:
        steps = examine(call(port, tls=ours(certificates), timeout_s=5.0))
        plain = failure(call(port))
        other = failure(call(port, tls=ours(certificates, certificates.other_client)))
    assert steps["echo"].outcome is Outcome.OK
    assert plain[0] == "association"
    assert "It speaks TLS on this port" in plain[1]
    assert "does not know the CA that signed our certificate" in other[1]


def test_tls_asked_of_a_plain_port(
    dcmtk: Callable[[str], str], certificates: Certificates, tmp_path: Path
) -> None:
    with storescp(dcmtk("storescp"), tmp_path) as port:
        name, sentence = failure(call(port, tls=ours(certificates)))
    assert name == "tls"
    assert "speaks plain DICOM on this port" in sentence


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("expired_server", "has expired"),
        ("other_client", "signed by a CA that we do not trust"),
        ("self_signed", "signed by itself"),
    ],
)
def test_certificates_that_are_not_trusted(
    certificates: Certificates, pair: str, said: str
) -> None:
    context = server_side(certificates, getattr(certificates, pair), wants=False)
    with tcp_server(shaking_hands(context)) as port:
        name, sentence = failure(call(port, tls=ours(certificates)))
    assert name == "tls"
    assert said in sentence
    assert f"CN={pair.replace('_', '-')}" in sentence
    assert "SHA-256" in sentence


def test_a_certificate_for_another_name(certificates: Certificates) -> None:
    asked = {"host": "127.0.0.2", "tls": ours(certificates)}
    context = server_side(certificates, certificates.server)
    with tcp_server(shaking_hands(context), "0.0.0.0") as port:
        name, sentence = failure(call(port, **asked))
    with scp(host="0.0.0.0", context=context) as port:
        known = examine(call(port, **asked, certificate_sha256="0" * 64))
    assert name == "tls"
    assert "not for '127.0.0.2' but for localhost, 127.0.0.1" in sentence
    assert known["echo"].outcome is Outcome.OK
    assert "not the certificate which certificate_sha256" in known["tls"].sentence


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("own", "said"),
    [
        (None, "without a certificate of ours"),
        ("other_client", "does not know the CA that signed our certificate"),
        ("expired_client", "our certificate has expired"),
    ],
)
def test_a_peer_that_turns_our_certificate_away(
    certificates: Certificates, version: ssl.TLSVersion, own: str | None, said: str
) -> None:
    context = server_side(certificates, certificates.server)
    context.maximum_version = context.minimum_version = version
    with tcp_server(shaking_hands(context)) as port:
        if own is None:
            files = TlsSettings(ca=certificates.ca.certificate)
        else:
            files = ours(certificates, getattr(certificates, own))
        name, sentence = failure(call(port, tls=files))
    assert name in {"tls", "association"}
    assert said in sentence


def test_a_peer_without_safe_tls(certificates: Certificates) -> None:
    context = server_side(certificates, certificates.server)
    context.set_ciphers("AES256-GCM-SHA384")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with tcp_server(shaking_hands(context)) as port:
        name, sentence = failure(call(port, tls=ours(certificates)))
    assert name == "tls"
    assert "no cipher in common" in sentence


def test_a_peer_that_is_silent_at_the_handshake(certificates: Certificates) -> None:
    with tcp_server(nothing) as port:
        name, sentence = failure(call(port, tls=ours(certificates)))
    assert name == "tls"
    assert "silent at the TLS handshake" in sentence


def test_our_own_files_must_be_there(certificates: Certificates) -> None:
    files = TlsSettings(ca=Path("/nowhere/ca.pem"))
    with pytest.raises(ConfigurationError, match="is not there"):
        list(diagnose(call(104, tls=files)))


def configuration(folder: Path, text: str) -> str:
    """A configuration file with these tables."""
    path = folder / "secondread.toml"
    path.write_text(text)
    return str(path)


def test_the_command_tells_every_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with scp() as port:
        path = configuration(
            tmp_path,
            '[[peers]]\nname = "mr1"\nae_title = "PACS"\naddresses = ["127.0.0.1"]\n'
            f"port = {port}\n",
        )
        assert execute(["peer", "echo", "mr1", "-c", path]) == EXIT_OK
        out = capsys.readouterr().out
        assert [line.split()[1] for line in out.splitlines()[:-1]] == NAMES
        assert out.splitlines()[-1].startswith(f"'PACS' at 127.0.0.1:{port} answered in ")
        target = f"PACS@localhost:{port}"
        assert execute(["peer", "echo", target, "--calling", "ME", "--json"]) == EXIT_OK
        told = json.loads(capsys.readouterr().out)
    assert told["ok"] is True
    assert [step["name"] for step in told["steps"]] == NAMES
    assert "accepts 'ME'" in told["steps"][3]["sentence"]


def test_the_command_calls_a_peer_as_it_comes(
    certificates: Certificates, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tls = ours(certificates)
    with scp(context=server_side(certificates, certificates.server)) as port:
        path = configuration(
            tmp_path,
            f'[tls]\nport = 2762\ncertificate = "{tls.certificate}"\nkey = "{tls.key}"\n'
            f'ca = "{tls.ca}"\n'
            '[[peers]]\nname = "mr1"\nae_title = "PACS"\naddresses = ["127.0.0.0/24"]\n'
            f'host = "localhost"\nport = {port}\ntls = true\n',
        )
        assert execute(["peer", "echo", "mr1", "-c", path]) == EXIT_OK
        assert "CN=server" in capsys.readouterr().out
        files = ["--ca", str(tls.ca), "--certificate", str(tls.certificate), "--key", str(tls.key)]
        assert execute(["peer", "echo", f"PACS@127.0.0.1:{port}", "--tls", *files]) == EXIT_OK
        capsys.readouterr()
        arguments = ["peer", "echo", "mr1", "-c", path, "--no-tls", "--timeout", "1"]
        assert execute(arguments) == EXIT_UNAVAILABLE
        assert "It speaks TLS on this port".lower() in capsys.readouterr().err.lower()


def test_the_command_fails_in_one_sentence(
    free_port: Callable[[], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["peer", "echo", f"PACS@localhost:{free_port()}"]) == EXIT_UNAVAILABLE
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "refuses connections" in captured.err
    assert captured.out.count("Not reached.") == 5
