"""Addresses, credentials and Store Instances Responses, without a server."""

from __future__ import annotations

import json
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from secondread.delivery.dicom_web import items, number, read_data_sets, text
from secondread.delivery.object_names import is_uid
from secondread.delivery.stow_answer import StoreStatus, read_store_response
from secondread.delivery.web import Answer, origin_of, read_retry_after_s
from secondread.delivery.web_wording import describe_status, describe_tls_trouble
from secondread.domain.web_target import Credentials, Scheme, WebTarget
from secondread.errors import (
    ConfigurationError,
    DeliveryError,
    KindRefusedError,
    PeerRefusedError,
    PeerUnreachableError,
)
from tests.web_peers import JSON, XML, response, response_xml

SHOWN = "'pacs' at https://pacs/dicom-web"
BOMB = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>
<NativeDicomModel><DicomAttribute tag="00081199" vr="SQ"/>&b;</NativeDicomModel>"""
FILE = b"""<!DOCTYPE x SYSTEM "file:///etc/passwd"><NativeDicomModel/>"""


def answered(body: bytes, media_type: str = JSON, status: int = 200) -> Answer:
    return Answer(status, media_type, body)


# Addresses


@pytest.mark.parametrize(
    ("url", "place", "root"),
    [
        ("https://pacs.example/dicom-web", ("pacs.example", 443), "/dicom-web"),
        ("http://10.1.2.3:8042/dicom-web/", ("10.1.2.3", 8042), "/dicom-web"),
        ("https://[2001:db8::1]:8443", ("2001:db8::1", 8443), ""),
    ],
)
def test_address_gives_host_port_and_root(url: str, place: tuple[str, int], root: str) -> None:
    target = WebTarget("pacs", url)
    assert (target.place, target.root) == (place, root)
    assert target.secure == url.startswith("https")


@pytest.mark.parametrize(
    "url",
    [
        "pacs.example/dicom-web",
        "ftp://pacs.example/",
        "https://",
        "https://pacs:0/",
        "https://pacs:99999/",
        "https://user:secret@pacs/",
        "https://pacs/?token=secret",
        "https://pacs/#there",
        "https://pacs/with blank",
        "https://pacs/\r\nHost: evil",
        "https://pacs/ü",
    ],
)
def test_address_that_cannot_be_used_is_refused_without_its_secret(url: str) -> None:
    with pytest.raises(ConfigurationError, match="'pacs'") as raised:
        WebTarget("pacs", url)
    assert "secret" not in str(raised.value)


def test_secrets_do_not_go_over_a_network_in_the_clear() -> None:
    for scheme in (Scheme.BASIC, Scheme.BEARER):
        shown = Credentials(scheme, "node", Path("/secret"))
        with pytest.raises(ConfigurationError, match="in the clear"):
            WebTarget("pacs", "http://pacs.example/", shown)
        for url in ("http://127.0.0.1:8042/", "http://localhost/", "https://pacs.example/"):
            WebTarget("pacs", url, shown)
        allowed = Credentials(scheme, "node", Path("/secret"), over_plain_http=True)
        WebTarget("pacs", "http://pacs.example/", allowed)
    WebTarget("pacs", "http://pacs.example/")
    with pytest.raises(ConfigurationError, match="colon"):
        WebTarget("pacs", "https://pacs/", Credentials(Scheme.BASIC, "a:b", Path("/secret")))


@pytest.mark.parametrize("proxy", ["proxy", "proxy:0", "http://proxy:1", "u:p@proxy:1", "a:b:c"])
def test_proxy_is_host_and_port(proxy: str) -> None:
    with pytest.raises(ConfigurationError, match="host:port"):
        WebTarget("pacs", "https://pacs/", proxy=proxy)


def test_uids_are_digits_and_dots() -> None:
    assert is_uid("1.2.840.10008") and is_uid("2.25." + "9" * 39)
    for bad in ("", ".", "1.", "1..2", "1.2/..", "1.2\n", "1" * 65, "١.٢", "a"):
        assert not is_uid(bad), bad


# Store Instances Responses


@pytest.mark.parametrize("kind", [JSON, XML])
def test_every_object_is_told_apart(kind: str) -> None:
    write = response if kind == JSON else response_xml
    reasons = {"1.1": 0, "1.2": 0xB000, "1.3": 0xB006, "1.4": 0xB007, "1.5": 0xB123}
    failures = {"2.1": 0xA700, "2.2": 0xA900, "2.3": 0xC122, "2.4": 0x0124, "2.5": 0x0110}
    told = read_store_response(answered(write(reasons, failures), kind), SHOWN)
    assert told is not None
    assert told["1.1"].status is StoreStatus.STORED
    assert all(told[uid].status is StoreStatus.WARNING for uid in ("1.2", "1.3", "1.4", "1.5"))
    assert "coercion" in told["1.2"].remark and "0xB123" in told["1.5"].remark
    expected: dict[str, type[DeliveryError]] = {
        "2.1": PeerUnreachableError,
        "2.2": KindRefusedError,
        "2.3": KindRefusedError,
        "2.4": PeerRefusedError,
        "2.5": PeerUnreachableError,
    }
    for uid, error in expected.items():
        assert told[uid].status is StoreStatus.FAILED
        assert type(told[uid].refusal) is error
        assert f"0x{failures[uid]:04X}" in told[uid].remark


def test_duplicate_is_stored_for_the_same_uid_is_the_same_content() -> None:
    told = read_store_response(answered(response({}, {"1.1": 0x0111})), SHOWN)
    assert told is not None and told["1.1"].stored
    assert "already" in told["1.1"].remark


def test_failure_goes_before_success_of_the_same_object() -> None:
    told = read_store_response(answered(response({"1.1": 0}, {"1.1": 0xA700})), SHOWN)
    assert told is not None and not told["1.1"].stored


def test_attributes_that_the_server_changed_are_named_without_their_values() -> None:
    item: dict[str, Any] = {
        "00081155": {"vr": "UI", "Value": ["1.1"]},
        "00081196": {"vr": "US", "Value": [0xB000]},
        "04000561": {
            "vr": "SQ",
            "Value": [
                {
                    "04000550": {
                        "vr": "SQ",
                        "Value": [{"00100020": {"vr": "LO", "Value": ["P-SECRET"]}, "zz": {}}],
                    }
                }
            ],
        },
    }
    body = json.dumps({"00081199": {"vr": "SQ", "Value": [item]}}).encode()
    told = read_store_response(answered(body), SHOWN)
    assert told is not None
    assert told["1.1"].remark.endswith("(PatientID)")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1, 2]",
        b'"text"',
        b"{}",
        b'{"HttpError": "Bad Request"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xff\xfe\x00",
        b'{"00081199": ' + b"9" * 5000 + b"}",
    ],
)
def test_json_that_is_no_response_is_none(body: bytes) -> None:
    assert read_store_response(answered(body), SHOWN) is None


@pytest.mark.parametrize(
    "body",
    [
        b"<html></html>",
        b"<NativeDicomModel>",
        BOMB,
        FILE,
        b"<NativeDicomModel>" + b"<Item>" * 1000,
        response_xml({"1.1": 0})[:-30],
        b"<x/>",
    ],
)
def test_xml_that_is_no_response_is_none(body: bytes) -> None:
    assert read_store_response(answered(body, XML), SHOWN) is None


@pytest.mark.parametrize(
    "body",
    [
        {"00081199": None},
        {"00081199": []},
        {"00081199": {"Value": {}}},
        {"00081199": {"Value": [None, 1, "x", []]}},
        {"00081199": {"Value": [{"00081155": {"Value": [7]}}]}},
        {"00081198": {"Value": [{"00081155": {"Value": ["1.1"]}, "00081197": {"Value": [{}]}}]}},
        {"00081198": {"Value": [{"00081155": {"Value": ["1.1"]}, "00081197": {"Value": [1e999]}}]}},
    ],
)
def test_response_with_values_of_wrong_kinds_stores_nothing(body: Any) -> None:
    told = read_store_response(answered(json.dumps(body).encode()), SHOWN)
    assert told is not None
    assert not any(answer.stored for uid, answer in told.items() if uid)


def test_media_type_decides_and_its_absence_is_looked_at() -> None:
    sound = response({"1.1": 0})
    assert read_store_response(answered(sound, "text/html"), SHOWN) is None
    assert read_store_response(answered(sound, XML), SHOWN) is None
    assert read_store_response(answered(sound, ""), SHOWN) is not None
    assert read_store_response(answered(response_xml({"1.1": 0}), ""), SHOWN) is not None
    assert read_store_response(answered(sound, "application/json"), SHOWN) is not None


def test_native_xml_is_read_with_prefixes_and_odd_values() -> None:
    # Orthanc 1.10 writes an empty Value between the items of a sequence.
    body = (
        b'<d:NativeDicomModel xmlns:d="http://dicom.nema.org/PS3.19/models/NativeDICOM">'
        b'<d:DicomAttribute tag="0008119a" vr="SQ"><d:Item number="1"><d:DicomAttribute '
        b'tag="00081197" vr="US"><d:Value number="1">272</d:Value></d:DicomAttribute></d:Item>'
        b'<d:Value number="1" /><d:Item number="2"/></d:DicomAttribute>'
        b"<d:Surprise><d:Value>1</d:Value></d:Surprise></d:NativeDicomModel>"
    )
    found = read_data_sets(answered(body, XML))
    assert found is not None
    (failure, _) = items(found[0], "0008119A")
    assert number(failure, "00081197") == 0x0110
    assert text(failure, "00081155") == ""


def test_every_status_that_is_told_is_in_the_manual() -> None:
    manual = (Path(__file__).resolve().parents[2] / "docs" / "stow.md").read_text()
    for status in range(300, 600):
        words = str(describe_status(SHOWN, status))
        if not words.endswith("see its log.") and status >= 400:
            assert str(status) in manual, words


def test_moments_pass_and_refusals_do_not() -> None:
    passing = {status for status in range(300, 600) if describe_status(SHOWN, status).retryable}
    assert passing == {408, 425, 429, *range(500, 600)} - {501}


# Small things


def test_retry_after_is_seconds_or_a_date_within_bounds() -> None:
    assert read_retry_after_s(None) is None
    assert read_retry_after_s(" 30 ") == 30.0
    assert read_retry_after_s("9" * 40) == 86_400.0
    assert read_retry_after_s("-5") is None
    assert read_retry_after_s("soon") is None
    at = datetime.now(UTC) + timedelta(seconds=100)
    assert 90 < (read_retry_after_s(format_datetime(at, usegmt=True)) or 0) <= 100
    assert read_retry_after_s(format_datetime(at - timedelta(days=3), usegmt=True)) == 0.0


def test_where_a_server_sends_on_to_is_told_without_path_and_secret() -> None:
    assert origin_of("https://user:pw@other:8443/studies/1.2?token=x") == "https://other:8443"
    for bad in (None, "", "/relative", "javascript:alert(1)", "http://[", "http://a b/"):
        assert origin_of(bad) == ""


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        (9, PeerUnreachableError, "clocks"),
        (62, PeerRefusedError, "'url'"),
        (1, PeerRefusedError, "'ca'"),
    ],
)
def test_certificates_that_are_not_trusted_say_what_to_do(
    code: int, error: type[DeliveryError], words: str
) -> None:
    trouble = ssl.SSLCertVerificationError("untrusted")
    trouble.verify_code = code
    told = describe_tls_trouble(trouble, SHOWN, False)
    assert type(told) is error and words in str(told)
