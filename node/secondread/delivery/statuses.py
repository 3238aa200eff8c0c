"""What the answers to a C-STORE mean (PS3.4 B.2.3)."""

from __future__ import annotations

SUCCESS = 0x0000
# PS3.4 B.2.3: stored, with a remark.
WARNINGS = frozenset({0xB000, 0xB006, 0xB007})
# PS3.7 C.5.5: an object with this UID is there. Ours follow from what is in the object.
DUPLICATE = 0x0111
NO_ANSWER = -1
CONTEXT_REFUSED = -2
NOT_DICOM = -3

_MEANINGS = {
    SUCCESS: "stored",
    0x0110: "processing failure",
    DUPLICATE: "it was there already",
    0x0117: "invalid SOP instance",
    0x0122: "SOP class not supported",
    0x0124: "not authorised",
    0x0210: "duplicate invocation",
    0x0211: "unrecognised operation",
    0x0212: "mistyped argument",
    0x0213: "resource limitation",
    0xB000: "stored, with coercion of data elements",
    0xB006: "stored, elements discarded",
    0xB007: "stored, although the data set does not match the SOP class",
    NO_ANSWER: "the peer did not answer",
    CONTEXT_REFUSED: "the peer does not take this SOP class in this transfer syntax",
    NOT_DICOM: "not a DICOM file",
}


def meaning_of(status: int) -> str:
    """A C-STORE status in words (PS3.4 B.2.3, PS3.7 C)."""
    if status in _MEANINGS:
        return _MEANINGS[status]
    if 0xA700 <= status <= 0xA7FF:
        return "the peer is out of resources"
    if 0xA900 <= status <= 0xA9FF:
        return "the data set does not match the SOP class"
    if 0xC000 <= status <= 0xCFFF:
        return "the peer cannot understand the data set"
    return "refused"


def is_refusal_of_kind(status: int) -> bool:
    """Whether a C-STORE status speaks of what the object is, not of the peer or the moment.

    PS3.4 table B.2-1: the data set does not match the SOP class (0xA9xx), it cannot be understood
    (0xCxxx); PS3.7 C.5.6: the SOP class is not supported (0x0122). 'Out of resources' (0xA7xx) and
    'processing failure' (0x0110) pass, and 'not authorised' (0x0124) is for a person to settle.
    """
    return status == 0x0122 or 0xA900 <= status <= 0xA9FF or 0xC000 <= status <= 0xCFFF
