"""The coded protocol of a series, and the numbers of its headers that are watched.

Both are made of values that ``deid.attributes`` lets through, never of a header's own text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from secondread.domain.technical import AttributeValue

ASKED = (
    "Modality PatientAge KVP ConvolutionKernel SliceThickness MagneticFieldStrength "
    "MRAcquisitionType ScanningSequence AcquisitionContrast EchoTime RepetitionTime InversionTime "
    "FlipAngle DiffusionBValue ContrastGiven"
).split()
"""What is asked of the headers, by the names of ``domain.technical``."""

_THICKNESS_MM = (1.0, 1.5, 3.0, 5.0)
"""Ends of the classes of slice thickness, each belonging to the class below it."""
_FIELDS_T = (0.064, 0.2, 0.35, 0.55, 1.0, 1.5, 3.0, 7.0)
_SHORT_ECHO_MS = 30.0
_AGE_BAND_YEARS = 10
_KV_STEP = 10
_MEASURES: Mapping[str, str] = {
    "KVP": "kvp_kv",
    "SliceThickness": "thickness_mm",
    "MagneticFieldStrength": "field_t",
    "EchoTime": "echo_time_ms",
    "RepetitionTime": "repetition_time_ms",
    "InversionTime": "inversion_time_ms",
    "FlipAngle": "flip_angle_degrees",
    "DiffusionBValue": "b_value",
}


def protocol_of(said: Mapping[str, AttributeValue]) -> str:
    """The protocol, such as 'MR, GR 3D, 3 T, short TE, no contrast agent, up to 1.5 mm'."""
    return ", ".join(_parts(said))


def _parts(said: Mapping[str, AttributeValue]) -> Iterator[str]:
    modality = str(said.get("Modality", "unknown modality"))
    yield modality
    if modality == "CT":
        yield f"kernel {said.get('ConvolutionKernel', 'unknown')}"
        if (voltage := _number(said, "KVP")) is not None:
            yield f"{_KV_STEP * round(voltage / _KV_STEP)} kV"
    if modality == "MR":
        yield _sequence(said)
        if (field := _number(said, "MagneticFieldStrength")) is not None:
            yield f"{min(_FIELDS_T, key=lambda usual: abs(usual - field)):g} T"
        if (echo := _number(said, "EchoTime")) is not None:
            yield "short TE" if echo < _SHORT_ECHO_MS else "long TE"
    yield "contrast agent" if said.get("ContrastGiven") else "no contrast agent"
    thickness = _number(said, "SliceThickness")
    yield "thickness unknown" if thickness is None else _thickness_class(thickness)


def _sequence(said: Mapping[str, AttributeValue]) -> str:
    codes = said.get("ScanningSequence")
    words = (
        "/".join(codes) if isinstance(codes, tuple) else str(said.get("AcquisitionContrast", ""))
    )
    kind = str(said.get("MRAcquisitionType", ""))
    return " ".join(filter(None, [words or "sequence unknown", kind]))


def _thickness_class(thickness_mm: float) -> str:
    below = 0.0
    for end in _THICKNESS_MM:
        if thickness_mm <= end:
            return f"{below:g} to {end:g} mm" if below else f"up to {end:g} mm"
        below = end
    return f"over {below:g} mm"


def header_measures(said: Mapping[str, AttributeValue]) -> dict[str, float]:
    """The numbers of the headers by their names here; of an age only its decade."""
    found = {
        name: float(value)
        for keyword, name in _MEASURES.items()
        if (value := _number(said, keyword)) is not None
    }
    if (age := _number(said, "PatientAge")) is not None:
        found["age_band_years"] = float(age // _AGE_BAND_YEARS * _AGE_BAND_YEARS)
    return found


def _number(said: Mapping[str, AttributeValue], keyword: str) -> float | None:
    value = said.get(keyword)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
