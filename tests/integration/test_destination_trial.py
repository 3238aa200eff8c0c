"""Trials of destinations of each kind: with TLS, over the web, a folder, and back to senders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pynetdicom.sop_class import (
    Comprehensive3DSRStorage,
    SegmentationStorage,
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from deploy.demo import pacs as demo_pacs
from secondread.cli.main import execute
from secondread.cli.peer_call import Wishes, find_callable, trial_of
from secondread.cli.probes.finding import Finding, Health
from secondread.cli.probes.neighbours import probe_neighbours
from secondread.cli.probes.tls import probe_tls
from secondread.config.settings import Settings
from secondread.delivery.steps import Outcome, Step, is_sound
from secondread.delivery.trial import Trial, try_out
from secondread.domain.destination import (
    CallSecurity,
    Destination,
    Proof,
    ProofTerms,
    UserIdentity,
    Way,
)
from secondread.domain.drop_folder import DropFolder
from secondread.domain.form import Form, SegmentationKind
from secondread.domain.network import Peer
from secondread.domain.web_target import Credentials, Scheme, WebTarget
from secondread.errors import EXIT_OK, EXIT_UNAVAILABLE, NotFoundError, UsageError
from tests.certificates import Certificates, fingerprint, issue
from tests.echo_peers import ours, scp, server_side, shaking_hands, tcp_server
from tests.web_peers import Asked, Conversation, web_peer

PATIENCE_S = 2.0
RESULTS = (Verification, SegmentationStorage, Comprehensive3DSRStorage)


def pacs(port: int, **more: Any) -> Destination:
    return Destination(
        name="pacs",
        **{
            "ae_title": "PACS",
            "host": "127.0.0.1",
            "port": port,
            "calling_ae_title": "SECONDREAD",
            "timeout_s": PATIENCE_S,
            **more,
        },
    )


def tried(destination: Destination) -> tuple[dict[str, Step], str]:
    """The steps by name, and the sentence that ends them."""
    trial = try_out(destination, PATIENCE_S)
    steps = list(trial.steps)
    return {step.name: step for step in steps}, trial.conclude(steps)


def proven(*classes: Any, proof: Proof = Proof.AUTO) -> tuple[Step, str]:
    with scp(classes=(*RESULTS, *classes)) as port:
        steps, sentence = tried(pacs(port, terms=ProofTerms(proof)))
    return steps["proof"], sentence


def test_commitment_is_the_proof_where_it_is_offered() -> None:
    step, sentence = proven(StorageCommitmentPushModel)
    assert step.outcome is Outcome.NOTE
    assert "It offers Storage Commitment" in step.sentence
    assert " answered in " in sentence


def test_reading_back_is_the_proof_where_there_is_no_commitment() -> None:
    step, _ = proven(StudyRootQueryRetrieveInformationModelFind)
    assert (step.outcome, "read back by C-FIND" in step.sentence) == (Outcome.NOTE, True)


@pytest.mark.parametrize(
    ("proof", "said"),
    [
        (Proof.AUTO, "It does not offer Storage Commitment or C-FIND to 'SECONDREAD', so nothing"),
        (Proof.COMMITMENT, "It does not offer Storage Commitment to"),
        (Proof.READ_BACK, "It does not offer C-FIND to"),
    ],
)
def test_a_destination_that_can_prove_nothing_is_warned_about(proof: Proof, said: str) -> None:
    step, sentence = proven(proof=proof)
    assert step.outcome is Outcome.WARNING
    assert step.sentence.startswith(said)
    assert said[1:30] in sentence


def test_no_proof_is_what_was_wished() -> None:
    step, _ = proven(proof=Proof.NONE)
    assert step.outcome is Outcome.NOTE


def test_the_results_that_are_asked_for_are_those_of_its_form() -> None:
    with scp(classes=(*RESULTS, StorageCommitmentPushModel)) as port:
        form = Form(segmentation=SegmentationKind.LABELMAP)
        steps, sentence = tried(pacs(port, form=form))
    assert steps["storage"].outcome is Outcome.WARNING
    assert "it refuses Label Map Segmentation" in sentence
    with scp(classes=(Verification, Comprehensive3DSRStorage, StorageCommitmentPushModel)) as port:
        steps, _ = tried(pacs(port, form=Form(segmentation=SegmentationKind.NONE)))
    assert steps["storage"].outcome is Outcome.NOTE


def with_tls(port: int, certificates: Certificates, **more: Any) -> Destination:
    own = ours(certificates)
    security = CallSecurity(own.ca, own.certificate, own.key, **more)
    return pacs(port, host="localhost", security=security)


def test_a_destination_with_tls_is_called_with_it(certificates: Certificates) -> None:
    context = server_side(certificates, certificates.server)
    with scp(classes=RESULTS, context=context) as port:
        steps, _ = tried(with_tls(port, certificates, checks_host=False))
        assert steps["tls"].outcome is Outcome.OK
        assert "TLSv1.3" in steps["tls"].sentence
        steps, _ = tried(pacs(port))
        assert not is_sound(tuple(steps.values()))


def test_another_certificate_than_the_one_that_is_known_ends_it(certificates: Certificates) -> None:
    context = server_side(certificates, certificates.server)
    good = fingerprint(certificates.server.certificate)
    with scp(classes=RESULTS, context=context) as port:
        steps, _ = tried(with_tls(port, certificates, certificate_sha256=good))
        assert steps["tls"].outcome is Outcome.OK
    with tcp_server(shaking_hands(context)) as port:
        steps, sentence = tried(with_tls(port, certificates, certificate_sha256="ab" * 32))
    assert steps["tls"].outcome is Outcome.FAILED
    assert "certificate_sha256" in sentence


def test_a_passcode_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    steps, sentence = tried(pacs(104, identity=UserIdentity("node", tmp_path / "absent")))
    assert list(steps) == ["settings"]
    assert "absent" in sentence


def web(url: str, **more: Any) -> Destination:
    return Destination(name="web", way=Way.STOW, web=WebTarget("web", url, **more))


def answering(status: int, body: bytes = b"", kind: str = "application/dicom+json") -> Any:
    def answer(talk: Conversation, _asked: Asked) -> None:
        talk.say(status, body, Content_Type=kind, Location="https://elsewhere/dicom-web")

    return answer


def test_a_server_that_answers_queries_can_be_read_back() -> None:
    with web_peer(answering(200, b"[]")) as peer:
        steps, sentence = tried(web(peer.url))
    assert list(steps) == ["name", "tcp", "service", "proof"]
    assert "QIDO-RS" in steps["proof"].sentence
    assert "answered in" in sentence
    (asked,) = peer.asked
    assert "/studies?StudyInstanceUID=2.25." in asked.path
    assert asked.method == "GET"


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "wants to know who calls (401)"),
        (403, "answered 403"),
        (503, "answered 503"),
        (302, "follows nobody"),
        (404, "answered 404"),
    ],
)
def test_a_server_that_refuses_says_why(status: int, said: str) -> None:
    with web_peer(answering(status)) as peer:
        steps, sentence = tried(web(peer.url))
    assert steps["service"].outcome is Outcome.FAILED
    assert said in sentence
    assert sentence.count("'web'") == 1


def test_a_portal_is_no_server() -> None:
    with web_peer(answering(200, b"<html>", "text/html")) as peer:
        steps, _ = tried(web(peer.url))
    assert "another service answers there" in steps["service"].sentence


def test_a_server_without_queries_is_warned_about() -> None:
    def answer(talk: Conversation, asked: Asked) -> None:
        talk.say(204 if asked.method == "OPTIONS" else 405)

    with web_peer(answer) as peer:
        steps, sentence = tried(web(peer.url))
    assert steps["service"].outcome is Outcome.OK
    assert steps["proof"].outcome is Outcome.WARNING
    assert "nothing can prove" in sentence


def test_a_server_that_is_down(free_port: Callable[[], int]) -> None:
    steps, _ = tried(web(f"http://127.0.0.1:{free_port()}/dicom-web"))
    assert steps["tcp"].outcome is Outcome.FAILED
    assert steps["service"].outcome is Outcome.SKIPPED


def test_a_secret_that_is_not_there_is_told(tmp_path: Path) -> None:
    credentials = Credentials(Scheme.BEARER, "", tmp_path / "absent", over_plain_http=True)
    with web_peer(answering(200, b"[]")) as peer:
        steps, _ = tried(web(peer.url, credentials=credentials))
    assert steps["service"].outcome is Outcome.FAILED
    assert peer.asked == []


def share(folder: Path, marker: str = "") -> Destination:
    return Destination(
        name="share", way=Way.FOLDER, folder=DropFolder("share", folder, marker=marker)
    )


def test_a_folder_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / ".mounted").touch()
    steps, sentence = tried(share(tmp_path, ".mounted"))
    assert list(steps) == ["folder", "space", "proof"]
    assert is_sound(tuple(steps.values()))
    assert "GiB left" in steps["space"].sentence
    assert [path.name for path in tmp_path.iterdir()] == [".mounted"]
    assert sentence.startswith("the folder '")


def test_a_folder_that_is_not_mounted_is_told(tmp_path: Path) -> None:
    _, sentence = tried(share(tmp_path / "absent"))
    assert "mount the share" in sentence
    _, sentence = tried(share(tmp_path, ".mounted"))
    assert "'.mounted' is not in" in sentence


def senders(port: int) -> Settings:
    return Settings(
        destinations=(Destination(name="back", way=Way.SENDER, calling_ae_title="SECONDREAD"),),
        peers=(
            Peer("ct", "CT", ("10.0.0.1",), 30.0, host="127.0.0.1", port=port),
            Peer("mr", "MR", ("10.0.0.2",), 30.0),
        ),
    )


def test_a_sender_is_tried_as_one_of_the_peers() -> None:
    with scp(classes=RESULTS) as port:
        settings = senders(port)
        trial = trial_of(settings, "back/ct", Wishes(timeout_s=PATIENCE_S))
        assert "'CT' at 127.0.0.1" in trial.shown
        list(trial.steps)
    with pytest.raises(NotFoundError, match="name one of them: 'back/ct', 'back/mr'"):
        find_callable(settings, "back")


def test_wishes_for_an_association_mean_nothing_for_a_folder(tmp_path: Path) -> None:
    settings = Settings(destinations=(share(tmp_path),))
    assert isinstance(trial_of(settings, "share", Wishes(timeout_s=1.0)), Trial)
    with pytest.raises(UsageError, match="kind 'folder', for which --timeout alone"):
        trial_of(settings, "share", Wishes(tls=True))


def test_the_command_tries_every_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "secondread.toml"
    path.write_text(
        '[[destinations]]\nname = "share"\nkind = "folder"\n[destinations.folder]\npath = "."\n'
        '[[destinations]]\nname = "web"\nkind = "stow"\n[destinations.web]\n'
        'url = "http://127.0.0.1:9/dicom-web"\n'
    )
    assert execute(["peer", "echo", "share", "-c", str(path), "--json"]) == EXIT_OK
    told = json.loads(capsys.readouterr().out)
    assert [step["name"] for step in told["steps"]] == ["folder", "space", "proof"]
    assert execute(["peer", "echo", "web", "-c", str(path), "--json"]) == EXIT_UNAVAILABLE
    told = json.loads(capsys.readouterr().out)
    assert (told["name"], told["ok"]) == ("web", False)
    assert execute(["peer", "list", "-c", str(path)]) == EXIT_OK
    assert "http://127.0.0.1:9/dicom-web" in capsys.readouterr().out


def test_the_doctor_tries_every_destination(tmp_path: Path, free_port: Callable[[], int]) -> None:
    settings = senders(free_port())
    destinations = (*settings.destinations, pacs(free_port()), share(tmp_path))
    found = by_subject(Settings(peers=settings.peers, destinations=destinations))
    assert found["destination share"].health is Health.OK
    assert found["destination pacs"].health is Health.FAIL
    assert "[[destinations]]" in found["destination pacs"].remedy
    assert "destination back/mr" not in found
    assert found["destination back/ct"].health is Health.FAIL
    assert "[[peers]]" in found["destination back/ct"].remedy


def by_subject(settings: Settings) -> dict[str, Finding]:
    return {finding.subject: finding for finding in probe_neighbours(settings)}


def test_the_doctor_warns_of_what_cannot_be_proven(certificates: Certificates) -> None:
    with scp(classes=RESULTS) as port:
        found = by_subject(Settings(destinations=(pacs(port),)))
    assert found["destination pacs"].health is Health.WARN
    assert "peer echo 'pacs'" in found["destination pacs"].remedy
    absent = CallSecurity(Path("/absent/ca.pem"))
    found = by_subject(Settings(destinations=(pacs(port, security=absent),)))
    assert found["destination pacs"].health is Health.FAIL


def test_the_doctor_warns_where_reports_would_be_refused() -> None:
    archive = Peer("pacs", "PACS", ("127.0.0.1",), 30.0)
    with scp(classes=(*RESULTS, StorageCommitmentPushModel)) as port:
        stranger = by_subject(Settings(destinations=(pacs(port),)))
        known = by_subject(Settings(destinations=(pacs(port),), peers=(archive,)))
    assert stranger["destination pacs"].health is Health.WARN
    assert "they would be refused" in stranger["destination pacs"].sentence
    assert known["destination pacs"].health is Health.OK


def test_certificates_of_destinations_that_end_are_told(
    certificates: Certificates, tmp_path: Path
) -> None:
    soon = issue(tmp_path, "soon", ca=certificates.ca, days=(-1, 10))
    own = certificates.settings()
    there = pacs(1, security=CallSecurity(own.ca, soon.certificate, soon.key))
    server = web("https://x/y", tls=own, ca=certificates.expired_server.certificate)
    found = [
        finding.sentence
        for finding in probe_tls(Settings(tls=own, destinations=(there, server)))
        if finding.health is Health.WARN
    ]
    assert len(found) == 2
    assert "'certificate' in [destinations.tls] of 'pacs'" in found[0]
    assert "destination 'pacs' refuses the node" in found[0]
    assert "'ca' in [destinations.web] of 'web'" in found[1]


def test_orthanc_is_tried_in_both_ways(tmp_path: Path) -> None:
    program = demo_pacs.orthanc_program()
    if program is None or not demo_pacs.DICOMWEB_PLUGIN.exists():
        pytest.skip("no Orthanc with DICOMweb: install orthanc and orthanc-dicomweb")
    server = demo_pacs.OrthancPacs(
        program, tmp_path, ("SECONDREAD",), dicomweb=demo_pacs.DICOMWEB_PLUGIN
    )
    try:
        steps, sentence = tried(pacs(server.port, ae_title=server.ae_title))
        assert is_sound(tuple(steps.values()))
        assert "Storage Commitment" in steps["proof"].sentence
        assert " answered in " in sentence
        steps, _ = tried(web(f"http://127.0.0.1:{server.http_port}/dicom-web"))
        assert steps["service"].sentence == "It answers queries (QIDO-RS)."
        steps, _ = tried(web(f"http://127.0.0.1:{server.http_port}/elsewhere"))
        assert steps["service"].outcome is Outcome.FAILED
    finally:
        server.close()
