"""Values on their own: dates, words, codes, numbers, pseudonyms, codestreams, regions."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import UID, JPEG2000Lossless, JPEGBaseline8Bit

from secondread.deid.profile import codes, dates, pixels, streams, text, values
from secondread.deid.profile.keys import ProjectKey
from secondread.errors import ConfigurationError, ExportRefusedError, PixelDataError

KEY = ProjectKey("one", b"1" * 32)


@pytest.mark.parametrize(
    ("vr", "value", "moved"),
    [
        (b"DA", b"20240301", b"20240229"),
        (b"DA", b"20240301 ", b"20240229"),
        (b"DA", b"2024.03.01", b"20240229"),
        (b"DA", b"SMITH", None),
        (b"DA", b"20241301", None),
        (b"DA", b"00010101", None),
        (b"TM", b"101112.123", b"101112.123"),
        (b"TM", b"SMITH", None),
        (b"TM", b"251112", None),
        (b"DT", b"20240301101112.5+0100", b"20240229101112.5+0100"),
        (b"DT", b"202403", b"202402"),
        (b"DT", b"2024", b"2023"),
        (b"DT", b"2024030199", None),
        (b"DT", b"20240301SMITH", None),
    ],
)
def test_a_date_moves_or_is_none(vr, value, moved):
    assert dates.shift(vr, value, -1, keep_time=True) == moved


def test_a_time_goes_where_times_are_not_kept():
    assert dates.shift(b"TM", b"1011", 0, keep_time=False) is None
    assert dates.shift(b"DT", b"202403011011", 0, keep_time=False) == b"20240301"


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (b"MR HEAD without contrast", b"MR HEAD without contrast"),
        (b"CT Thorax for Dr. Smith, ward 7", b"CT Thorax for"),
        (b"T1 axial 3D", b"T1 axial 3D"),
        (b"Head 19700412", b"Head"),
        (b"Brown", b""),
        (b"12 mm of 93", b"12 mm of"),
        (b"93", b""),
        (b"", b""),
        ("CT 山田 HEAD".encode("iso2022_jp"), b"CT HEAD"),
        ("MR 欧阳 BRAIN".encode("gb18030"), b"MR BRAIN"),
    ],
)
def test_only_known_words_stay(value, kept):
    assert text.clean(value, {"brown", "wood"}) == kept


def test_a_word_of_a_name_does_not_stay_though_it_is_known():
    assert text.clean(b"HEAD of Head", text.names_in(b"Head^Peter")) == b"of"


@pytest.mark.parametrize(
    ("value", "scheme", "kept"),
    [
        (b"121071 ", b"DCM ", ("121071", "DCM", "Finding")),
        (b"T-62000", b"SRT", ("10200004", "SCT", "Liver")),
        (b"10200004", b"SCT", ("10200004", "SCT", "Liver")),
        (b"SMITH", b"SCT", ("REMOVED", "99SECONDREAD", "Removed")),
        (b"121071", b"99SMITH", ("REMOVED", "99SECONDREAD", "Removed")),
        (b"", b"", ("REMOVED", "99SECONDREAD", "Removed")),
    ],
)
def test_only_published_codes_stay(value, scheme, kept):
    parts = {codes.CODE_VALUE: value, codes.SCHEME: scheme, codes.MEANING: b"Smith^John"}
    cleaned, was_known = codes.clean_code(parts)
    assert cleaned == codes.encode_code(*kept)
    assert was_known == (kept[0] != "REMOVED")


@pytest.mark.parametrize(
    ("vr", "value", "values_max", "harmless"),
    [
        (b"DS", b"-1.5e3\\2 ", 0, True),
        (b"DS", b"12345678901234567", 0, False),
        (b"DS", b"SMITH", 0, False),
        (b"DS", b"1\\2\\3", 2, False),
        (b"IS", b"12 ", 1, True),
        (b"IS", b"1.5", 1, False),
        (b"CS", b"ORIGINAL\\PRIMARY\\AXIAL ", 0, True),
        (b"CS", b"SMITH", 0, False),
        (b"US", b"\1\2", 1, True),
        (b"US", b"\1\2\3", 1, False),
        (b"US", b"\1\2\3\4", 1, False),
        (b"FD", b"SMITH^JO", 1, False),
        (b"FL", np.linspace(-200, 200, 500, dtype="<f4").tobytes(), 0, True),
        (b"AT", b"\x10\0\x10\0", 1, True),
        (b"AT", b"SMIT", 1, False),
        (b"LO", b"anything", 1, False),
    ],
)
def test_what_is_harmless(vr, value, values_max, harmless):
    assert values.is_harmless(0x00189999, vr, value, values_max) is harmless


def test_unknown_code_strings_beside_known_ones_keep_their_place():
    assert values.known_terms(b"CS", b"DERIVED\\SMITH\\AXIAL") == b"DERIVED\\OTHER\\AXIAL"
    assert values.known_terms(b"CS", b"SMITH") is None
    assert values.known_terms(b"CS", b"SMITH\\DOE") is None


def test_an_age_is_at_most_ninety():
    assert values.limit_age(b"093Y") == b"090Y"
    assert values.limit_age(b"089Y") == b"089Y"
    assert values.limit_age(b"018M") == b"018M"
    assert values.limit_age(b"SMIT") is None


def test_a_key_makes_the_same_again_and_another_key_does_not():
    other = ProjectKey("two", b"2" * 32)
    assert KEY.uid("1.2.3") == KEY.uid("1.2.3") != other.uid("1.2.3")
    assert UID(KEY.uid("1.2.3")).is_valid
    assert KEY.pseudonym(b"a") == KEY.pseudonym(b"a") != other.pseudonym(b"a")
    assert KEY.shift_days(b"a") == KEY.shift_days(b"a") != other.shift_days(b"a")
    assert -3652 <= KEY.shift_days(b"a") <= -366
    assert ProjectKey("rooted", KEY.secret, "1.2.3").uid("1").startswith("1.2.3.")


def test_a_key_is_long_and_is_not_told():
    assert "1111" not in repr(KEY)
    with pytest.raises(ConfigurationError, match="at least 16"):
        ProjectKey("short", b"123")


def photograph():
    ramp = np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8)
    return Image.fromarray(ramp)


def test_comments_in_jpeg_are_overwritten_and_the_pixels_stay():
    content = io.BytesIO()
    photograph().save(content, "JPEG", comment=b"SMITH^JOHN", exif=b"Exif\0\0" + b"SMITH" * 9)
    stream = content.getvalue() + b"SMITH after the end"
    table, cleaned = streams.clean_fragments([b"", stream], JPEGBaseline8Bit, 1)
    assert (table, len(cleaned)) == (b"", len(stream))
    assert b"SMITH" in stream
    assert b"SMITH" not in cleaned
    before, after = (np.asarray(Image.open(io.BytesIO(each))) for each in (stream, cleaned))
    assert np.array_equal(before, after)


def test_comments_in_jpeg_2000_are_overwritten_in_every_frame():
    content = io.BytesIO()
    photograph().save(content, "JPEG2000", no_jp2=True, comment="SMITH^JOHN")
    stream = content.getvalue()
    assert b"SMITH" in stream
    halves = [stream[:100], stream[100:] + b"\0" * (len(stream) % 2)]
    offsets = (0).to_bytes(4, "little") + (16 + sum(map(len, halves))).to_bytes(4, "little")
    _, *cleaned = streams.clean_fragments([offsets, *halves, *halves], JPEG2000Lossless, 2)
    assert [len(part) for part in cleaned] == [len(part) for part in halves] * 2
    assert b"SMITH" not in b"".join(cleaned)
    after = np.asarray(Image.open(io.BytesIO(b"".join(cleaned[2:]))))
    assert np.array_equal(after, np.asarray(photograph()))


def test_a_stream_that_nobody_can_look_into_is_refused():
    with pytest.raises(ExportRefusedError, match="hidden text"):
        streams.clean_fragments([b"", b"\0\0"], "1.2.840.10008.1.2.4.102", 1)
    with pytest.raises(ExportRefusedError, match="bare"):
        streams.clean_fragments([b"", b"\0\0\0\x0cjP  "], JPEG2000Lossless, 1)
    with pytest.raises(PixelDataError):
        streams.clean_fragments([b"", b"\xff\xd8\xff\xda\0\2abc"], JPEGBaseline8Bit, 1)


SHAPE = pixels.PixelShape(4, 6, 1, 2, 16, 12, False, False, "MONOCHROME2")
REGION = pixels.Region("CT", ".*", ".*", "X", 4, 6, ((1, 2, 3, 1),))


@pytest.mark.parametrize(
    ("change", "black"),
    [
        ({}, 0),
        ({"is_signed": True}, -2048),
        ({"photometric": "MONOCHROME1"}, 4095),
    ],
)
def test_a_box_is_blanked_and_nothing_else(change, black):
    shape = replace(SHAPE, **change)
    before = np.full((2, 4, 6), 7, "<i2")
    blanked = pixels.blank(before.tobytes(), shape, REGION.boxes)
    after = np.frombuffer(blanked, "<i2").reshape(2, 4, 6)
    assert (after[:, 2, 1:4] == black).all()
    assert (after == before).sum() == before.size - 6


@pytest.mark.parametrize("is_planar", [True, False])
def test_a_box_is_blanked_in_every_colour(is_planar):
    shape = replace(SHAPE, samples=3, bits=8, bits_stored=8, is_planar=is_planar, frames=1)
    shape = replace(shape, photometric="RGB")
    after = np.frombuffer(pixels.blank(b"\7" * 72, shape, REGION.boxes), np.uint8)
    after = after.reshape(3, 4, 6) if is_planar else after.reshape(4, 6, 3).transpose(2, 0, 1)
    assert (after[:, 2, 1:4] == 0).all()
    assert (after == 7).sum() == 72 - 9


def test_what_follows_the_last_pixel_goes():
    assert pixels.native(b"\1" * 96 + b"SMITH ", SHAPE) == b"\1" * 96
    with pytest.raises(PixelDataError, match="shorter"):
        pixels.native(b"\1" * 95, SHAPE)


@pytest.mark.parametrize("is_signed", [True, False])
def test_overlays_in_spare_bits_go_and_the_pixels_stay(is_signed):
    shape = replace(SHAPE, is_signed=is_signed)
    stored = np.arange(48, dtype="<u2") * 80
    cleaned = np.frombuffer(pixels.without_overlay_bits((stored | 0x9000).tobytes(), shape), "<u2")
    assert np.array_equal(cleaned & 0x0FFF, stored & 0x0FFF)
    expected = (stored >> 11 & 1) * 0xF000 if is_signed else 0 * stored
    assert np.array_equal(cleaned & 0xF000, expected)
