"""[[notify]] and [[worklists]]: what becomes of each kind, and what is wrong in words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from secondread.config.checks import remarks
from secondread.config.explain import explain
from secondread.config.load import examine, load
from secondread.config.notify import EventName
from secondread.domain.code import Code
from secondread.domain.telling import Event, ListenerKind
from secondread.domain.web_target import Scheme
from secondread.domain.worklist import WorklistKind

PACS = '[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "pacs"\nport = 104\n'
SHARE = '[[destinations]]\nname = "share"\nkind = "folder"\n[destinations.folder]\npath = "/x"\n'
CALL = 'ae_title = "RIS"\nhost = "ris"\nport = 104\n'
HOOK = (
    '[[notify]]\nname = "ris"\nevents = ["job-safe"]\n[notify.web]\n'
    'url = "http://ris:8080/hooks/ai"\nsecret_file = "ris.secret"\n'
)
FLOW = '[[notify]]\nname = "flow"\nkind = "availability"\n' + CALL
WORK = (
    '[[worklists]]\nname = "work"\nworkitem_codes = ["110005^DCM^Interpretation"]\n'
    'source = "pacs"\n' + CALL
)
CLOUD = (
    '[[worklists]]\nname = "cloud"\nkind = "web"\nworkitem_codes = ["110005^DCM^Interpretation"]\n'
    'station_codes = ["NODE^99HOSP^The node"]\n[worklists.web]\n'
    'url = "http://localhost:8080/dicom-web"\n'
)
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "secondread.toml"
        path.write_text(text)
        return path

    return write


def sentences(path: Path) -> str:
    return "\n".join(str(fault) for fault in examine(path, {}).faults)


def test_every_event_but_the_trial_can_be_named() -> None:
    assert {*get_args(EventName)} == {*Event} - {Event.TEST}


def test_a_webhook_has_its_address_and_its_secret(write: Write, tmp_path: Path) -> None:
    (found,) = load(write(HOOK), {}).listeners
    assert found.kind is ListenerKind.WEBHOOK
    assert found.web is not None
    assert found.call is None
    assert (found.web.url, found.secret_file) == (
        "http://ris:8080/hooks/ai",
        tmp_path / "ris.secret",
    )
    assert found.events == {Event.JOB_SAFE}
    assert found.web.limits.whole_s == 60.0


def test_a_listener_for_notices_is_told_what_is_safe(write: Write) -> None:
    (found,) = load(write(FLOW), {}).listeners
    assert found.events == {Event.JOB_SAFE}
    assert found.call is not None
    assert (found.call.ae_title, found.call.calling_ae_title) == ("RIS", "SECONDREAD")
    assert found.call.security is None


def test_a_worklist_has_its_codes(write: Write) -> None:
    one, other = load(write(PACS + WORK + CLOUD), {}).worklists
    assert (one.kind, one.source, one.web) == (WorklistKind.DICOM, "pacs", None)
    assert one.workitem_codes == (Code("110005", "DCM", "Interpretation"),)
    assert one.station == Code("SECONDREAD", "99SECONDREAD", "SecondRead")
    assert (other.kind, other.call) == (WorklistKind.WEB, None)
    assert other.web is not None
    assert other.web.credentials.scheme is Scheme.NONE
    assert other.station_codes == (other.station,) == (Code("NODE", "99HOSP", "The node"),)


def test_every_value_is_explained(write: Write) -> None:
    _, values = explain(write(PACS + HOOK + FLOW + WORK + CLOUD))
    found = {one.key: one.value for one in values}
    assert found["notify.ris.web.url"] == "http://ris:8080/hooks/ai"
    assert found["notify.flow.port"] == 104
    assert found["worklists.cloud.web.in_array"] is True


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[[notify]]\nname = "x"\n', "needs a table [notify.web] below it"),
        ('[[notify]]\nname = "x"\nkind = "availability"\nhost = "h"\nport = 1\n', "'ae_title'"),
        (HOOK.replace("[notify.web]", 'host = "h"\n[notify.web]'), "'host' in [[notify]] 'ris'"),
        (HOOK.replace("job-safe", "job-saved"), "events"),
        (HOOK.replace('["job-safe"]', '[]\ndestinations = ["paks"]') + PACS, "'pacs'"),
        (HOOK.replace("http://ris", "ftp://ris"), "[notify.web] of 'ris': 'url' of 'ris'"),
        (HOOK.replace("http://ris", "https://ris"), "needs the key 'ca'"),
        (HOOK + 'ca = "nowhere.pem"\n', "cannot be read"),
        (HOOK + HOOK, "each needs a name of its own"),
        (FLOW.replace(CALL, 'events = ["study-done"]\n' + CALL), "told 'job-safe' alone"),
        (FLOW + "[notify.tls]\n", "[notify.tls] of 'flow' needs the key 'ca'"),
        (WORK, "names 'pacs'"),
        (SHARE + WORK.replace('"pacs"', '"share"'), "'dicom' and 'stow' alone"),
        (PACS + WORK.replace("^DCM", ""), "must be a code"),
        (PACS + WORK.replace('["110005^DCM^Interpretation"]', "[]"), "must not be empty"),
        (PACS + WORK.replace("port = 104\n", ""), "needs the key 'port'"),
        (CLOUD + 'auth = "basic"\nusername = "u"\n', "need 'secret_file'"),
        (CLOUD + 'auth = "bearer"\nusername = "u"\nsecret_file = "s"\n', "'basic' needs"),
        (CLOUD.split("[worklists.web]", maxsplit=1)[0], "needs a table [worklists.web] below it"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(write: Write, text: str, expected: str) -> None:
    told = sentences(write(text))
    assert expected in told
    assert "line " in told


def test_a_webhook_in_the_clear_to_another_machine_is_remarked(write: Write) -> None:
    def said(text: str) -> str:
        return "\n".join(one.sentence for one in remarks(load(write(text), {})))

    assert "Listener 'ris' is told over plain http" in said(HOOK)
    assert "UIDs" in said(HOOK + "with_uids = true\n")
    assert "plain http" not in said(HOOK.replace("//ris:", "//127.0.0.1:"))
    assert "told nothing of destination 'share'" in said(SHARE + FLOW)
    assert "told nothing of" not in said(PACS + FLOW)
