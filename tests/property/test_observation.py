"""Whatever a header holds, nothing of who the patient is is kept of it to watch a model."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secondread.deid.scanners import UNKNOWN, scanner_of
from secondread.pipeline.observing import code
from tests.planted.scanner import Scanner
from tests.property.test_boundary import received

SECRET = b"s" * 32
_KEYWORDS = (
    "Manufacturer ManufacturerModelName Modality PatientAge KVP ConvolutionKernel SliceThickness "
    "MagneticFieldStrength MRAcquisitionType ScanningSequence AcquisitionContrast EchoTime "
    "RepetitionTime InversionTime FlipAngle DiffusionBValue ContrastBolusAgent SliceSpacing "
    "RowSpacing ColumnSpacing TiltAngle"
).split()
_VALUES = st.one_of(
    st.text(min_size=1, max_size=24),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from(["GE", "MR", "CT", "B30f", "SIEMENS", "Skyra", "GR", "063Y", "3D", "SIGNA"]),
)


@pytest.mark.parametrize("text", ["", "GE ", "Skyra ", "SIGNA\\", "B30F\\", "120\\", "063Y\\"])
def test_no_token_of_any_attribute_is_kept(tmp_path, text):
    _, said = received(tmp_path, text)
    kept = code(said, SECRET)
    scanner = Scanner(dates=False)
    assert not scanner.scan(repr(kept).encode())
    # The control: the headers were full of them, and were looked at.
    assert scanner.scan(repr(said).encode())


@given(
    said=st.dictionaries(st.sampled_from(_KEYWORDS), st.lists(_VALUES, max_size=3).map(tuple)),
    name=st.from_regex(r"\A[A-Z][a-z]{4,12} [A-Z][a-z]{4,12} [0-9]{5,9}\Z"),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_name_and_a_number_are_kept_of_no_attribute(said, name):
    planted = {keyword: (name, *said.get(keyword, ())) for keyword in _KEYWORDS}
    kept = code(planted, SECRET)
    shown = f"{kept.scanner} {kept.protocol} {sorted(kept.measures)}".upper()
    for word in name.upper().split():
        assert not re.search(rf"\b{word}\b", shown)
    assert not any(math.isnan(value) for value in kept.measures.values())


@given(model=st.text(max_size=64))
@settings(max_examples=200, deadline=None)
def test_a_scanner_is_called_by_a_few_known_words_or_a_mark(model):
    found = scanner_of(["Philips"], [model], SECRET)
    assert found == UNKNOWN or found.startswith("Philips")
    mark = re.fullmatch(r"Philips model [0-9a-f]{6}", found)
    assert mark or set(found.upper().split()[1:]) <= set(re.split(r"[\s_,;()]+", model.upper()))
