"""[[destinations]] and the tables below: what becomes of each kind, and what is wrong in words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from secondread.config.checks import remarks
from secondread.config.destinations import DestinationProof, DestinationRow
from secondread.config.explain import explain
from secondread.config.load import examine, load
from secondread.domain.destination import (
    CallSecurity,
    Destination,
    Proof,
    ProofTerms,
    UserIdentity,
    Way,
)
from secondread.domain.drop_folder import DropFolder, Layout
from secondread.domain.network import TlsSettings
from secondread.domain.web_target import Credentials, Scheme, StowForm, TimeLimits, WebTarget
from tests.certificates import Certificates

PACS = '[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "pacs"\nport = 104\n'
WEB = '[[destinations]]\nname = "web"\nkind = "stow"\n[destinations.web]\n'
FOLDER = '[[destinations]]\nname = "share"\nkind = "folder"\n[destinations.folder]\n'
BACK = '[[destinations]]\nname = "back"\nkind = "sender"\n'
URL = 'url = "http://10.1.2.3:8042/dicom-web"\n'
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "secondread.toml"
        path.write_text(text)
        return path

    return write


def destination(path: Path) -> Destination:
    (found,) = load(path, {}).destinations
    return found


def sentences(path: Path) -> str:
    return "\n".join(str(fault) for fault in examine(path, {}).faults)


def test_the_usual_destination_is_a_storage_scp_without_tls(write: Write) -> None:
    found = destination(write(PACS))
    assert found == Destination(
        name="pacs", ae_title="PACS", host="pacs", port=104, calling_ae_title="SECONDREAD"
    )


def test_the_kinds_are_those_of_the_domain() -> None:
    kinds = get_args(DestinationRow.model_fields["kind"].annotation)
    assert kinds == tuple(way.value for way in Way)
    proofs = get_args(DestinationProof.model_fields["kind"].annotation)
    assert proofs == tuple(proof.value for proof in Proof)


def test_every_key_of_a_dicom_destination_arrives(write: Write, certificates: Certificates) -> None:
    files = certificates.client
    found = destination(
        write(
            f'{PACS}calling_ae_title = "NODE"\nusername = "node"\npasscode_file = "pacs.pass"\n'
            "timeout_s = 20.0\nattempts_max = 7\nparallel = 4\n"
            f'[destinations.tls]\nca = "{certificates.ca.certificate}"\n'
            f'certificate = "{files.certificate}"\nkey = "{files.key}"\ncheck_host = false\n'
            '[destinations.proof]\nkind = "read-back"\ndelay_s = 1\nwait_s = 2\n'
            "report_timeout_s = 60\ntries_max = 3\n"
        )
    )
    folder = write("").parent
    assert found == Destination(
        name="pacs",
        ae_title="PACS",
        host="pacs",
        port=104,
        calling_ae_title="NODE",
        timeout_s=20.0,
        attempts_max=7,
        security=CallSecurity(
            certificates.ca.certificate, files.certificate, files.key, checks_host=False
        ),
        identity=UserIdentity("node", folder / "pacs.pass"),
        parallel=4,
        terms=ProofTerms(Proof.READ_BACK, 1.0, 2.0, 60.0, 3),
    )


def test_what_tls_leaves_out_is_the_nodes_own(write: Write, certificates: Certificates) -> None:
    own = certificates.server
    tls = (
        f'[tls]\nca = "{certificates.ca.certificate}"\ncertificate = "{own.certificate}"\n'
        f'key = "{own.key}"\n'
    )
    found = destination(write(f"{tls}{PACS}[destinations.tls]\n")).security
    assert found == CallSecurity(certificates.ca.certificate, own.certificate, own.key)
    pinned = f'{tls}{PACS}[destinations.tls]\ncertificate_sha256 = "{"AB:" * 31}AB"\n'
    known = destination(write(pinned)).security
    assert known is not None
    assert (known.certificate_sha256, known.checks_host) == ("ab" * 32, False)


def test_a_web_server_arrives_with_its_limits(write: Write, certificates: Certificates) -> None:
    ca = certificates.ca.certificate
    found = destination(
        write(
            f'{WEB}url = "https://pacs:8443/dicom-web"\nauth = "basic"\nusername = "node"\n'
            f'secret_file = "web.pass"\nca = "{ca}"\nproxy = "proxy:3128"\nobjects_max = 5\n'
            "mib_max = 2\nnames_study = true\n"
        )
    )
    assert found.way is Way.STOW
    assert found.web == WebTarget(
        "web",
        "https://pacs:8443/dicom-web",
        Credentials(Scheme.BASIC, "node", write("").parent / "web.pass"),
        tls=TlsSettings(),
        ca=ca,
        proxy="proxy:3128",
        limits=TimeLimits(30.0, 120.0),
    )
    assert found.stow == StowForm(5, 2 * 1024**2, names_study=True)


def test_a_timeout_that_is_set_holds_for_the_answers_of_a_web_server(write: Write) -> None:
    row = WEB.replace("[destinations.web]", "timeout_s = 45.0\n[destinations.web]")
    found = destination(write(row + URL)).web
    assert found is not None
    assert found.limits == TimeLimits(45.0, 45.0)


def test_a_folder_counts_from_the_configuration(write: Write) -> None:
    path = write(
        f'{FOLDER}path = "drop"\nlayout = "flat"\nmarker = ".mounted"\nfile_mode = "0600"\n'
    )
    found = destination(path)
    assert found.folder == DropFolder("share", path.parent / "drop", Layout.FLAT, ".mounted", 0o600)


def test_a_sender_needs_nothing_of_its_own(write: Write) -> None:
    assert destination(write(BACK)).way is Way.SENDER


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            PACS.replace('"pacs"', '"a/b"', 1),
            "line 2: [[destinations]] 'a/b' may have no '/' in its name",
        ),
        (PACS.replace('host = "pacs"\n', ""), "line 1: [[destinations]] 'pacs' lacks the key 'ho"),
        (
            PACS.replace("port = 104\n", ""),
            "[[destinations]] 'pacs' lacks the key 'port'.",
        ),
        ('[[destinations]]\nname = "w"\nkind = "stow"\n', "so it needs a table [destinations.web]"),
        ('[[destinations]]\nname = "w"\nkind = "folder"\n', "a table [destinations.folder] below"),
        (
            f'{BACK}host = "x"\n',
            "line 4: 'host' in [[destinations]] 'back' means nothing for kind 'sender', only for "
            "'dicom'. Take it out, or set 'kind'.",
        ),
        (
            f"{PACS}[destinations.web]\n{URL}",
            "[destinations.web] of 'pacs' means nothing for kind 'dicom', only for 'stow'.",
        ),
        (f'{PACS}kind = "ftp"\n', "'kind' in [[destinations]] 'pacs' must be 'dicom', 'stow', 'f"),
        (f'{PACS}tls = "yes"\n', "'tls' in [[destinations]] 'pacs' must be a table, not the text"),
        (f"{PACS}[destinations.tls]\n", "[destinations.tls] of 'pacs' needs the key 'ca', a PEM"),
        (
            f'{PACS}[destinations.tls]\nca = "no.pem"\n',
            "line 7: 'ca' in [destinations.tls] of 'pacs' is '",
        ),
        (
            f'{PACS}[destinations.tls]\ncertificate = "no.pem"\n',
            "[destinations.tls] of 'pacs' has 'certificate' but not 'key'; give both or neither.",
        ),
        (f"{PACS}[destinations.tls]\ncert = 1\n", "Unknown key 'cert' in [destinations.tls] of 'p"),
        (f'{PACS}passcode_file = "x"\n', "has 'passcode_file' but not 'username'"),
        (f"{PACS}parallel = 17\n", "'parallel' in [[destinations]] 'pacs' must be at most 16, not"),
        (f"{WEB}auth = 'none'\n", "[destinations.web] of 'web' lacks the key 'url'."),
        (
            f'{WEB}url = "ftp://x/y"\n',
            "line 5: [destinations.web] of 'web': 'url' of destination 'web' must be like https:",
        ),
        (
            f'{WEB}{URL}auth = "bearer"\nsecret_file = "t"\n',
            "would go over the network in the clear",
        ),
        (f'{WEB}{URL}auth = "bearer"\n', "is 'bearer', which needs 'secret_file', the file with t"),
        (
            f'{WEB}{URL}auth = "basic"\nsecret_file = "t"\nover_plain_http = true\n',
            "'auth' in [destinations.web] of 'web' is 'basic', which needs 'username'.",
        ),
        (f'{WEB}{URL}username = "x"\n', "means nothing where 'auth' is 'none'; take it out, or s"),
        (f'{WEB}{URL}secret_file = "x"\n', "'secret_file' in [destinations.web] of 'web' means n"),
        (
            f'{WEB}{URL}proxy = "http://x"\n',
            "line 6: [destinations.web] of 'web': 'proxy' must be host:port",
        ),
        (
            f'{WEB}url = "https://x/y"\n',
            "[destinations.web] of 'web' needs the key 'ca', a PEM file of the CA that signed the",
        ),
        (f'{FOLDER}path = "d"\nfile_mode = "888"\n', "must be three octal digits that let the ow"),
        (
            f'{FOLDER}path = "d"\nmarker = "a/b"\n',
            "line 6: 'marker' of destination 'share' must be the name of a file, without '/'.",
        ),
        (
            f'{WEB}{URL}[destinations.proof]\nkind = "commitment"\n',
            "line 7: 'kind' in [destinations.proof] of 'web' is 'commitment', which is asked for",
        ),
        (
            f'{FOLDER}path = "d"\n[[peers]]\nname = "p"\nae_title = "P"\naddresses = ["10.0.0.1"]\n'
            '[peers.complete]\nask = "share"\n',
            "'ask' in [peers.complete] of 'p' names 'share', which is of kind 'folder'; only one",
        ),
    ],
)
def test_what_is_wrong_is_said_where_it_stands(write: Write, text: str, said: str) -> None:
    assert said in sentences(write(text))


def test_a_destination_of_a_rule_may_be_of_any_kind(write: Write) -> None:
    rule = (
        '[[models]]\nid = "brain_mr"\n[[rules]]\nname = "r"\nmodel = "brain_mr"\n'
        'destinations = ["back", "share"]\n'
    )
    settings = load(write(f'{BACK}{FOLDER}path = "d"\n{rule}'), {})
    assert settings.rules[0].destinations == ("back", "share")


def test_it_is_said_to_whom_nothing_can_go_back(write: Write) -> None:
    peers = (
        '[[peers]]\nname = "ct"\nae_title = "CT"\naddresses = ["10.0.0.1"]\nhost = "ct"\nport = 1\n'
        '[[peers]]\nname = "mr"\nae_title = "MR"\naddresses = ["10.0.0.2"]\nport = 104\n'
    )
    said = [one.sentence for one in remarks(load(write(BACK + peers), {}))]
    assert "Nothing can go back to 'mr' by destination 'back': host or port is not known." in said


def test_commitment_reports_need_somebody_who_may_bring_them(write: Write) -> None:
    text = f'{PACS}[destinations.proof]\nkind = "commitment"\n'
    (found,) = [
        one for one in remarks(load(write(text), {})) if "commitment reports" in one.sentence
    ]
    assert "--ae-title" in found.remedy
    peer = '[[peers]]\nname = "pacs"\nae_title = "PACS"\naddresses = ["10.0.0.1"]\n'
    said = [one.sentence for one in remarks(load(write(text + peer), {}))]
    assert not any("commitment reports" in sentence for sentence in said)


def test_a_passcode_in_the_clear_is_remarked(write: Write) -> None:
    text = f'{PACS}username = "u"\npasscode_file = "p"\n'
    said = [one.sentence for one in remarks(load(write(text), {}))]
    assert any("passcode to destination 'pacs' without TLS" in sentence for sentence in said)


def test_tables_of_other_kinds_are_not_explained(write: Write) -> None:
    path = write(f"{WEB}{URL}")
    found = {value.key: (value.value, value.origin) for value in explain(path)[1]}
    assert found["destinations.web.web.url"][1] == "secondread.toml:5"
    assert found["destinations.web.web.objects_max"] == (100, "default")
    assert found["destinations.web.proof.kind"] == ("auto", "default")
    assert not [key for key in found if ".folder" in key or ".tls" in key]
