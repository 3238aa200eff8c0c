"""A name for the equipment that says which model it is, and nothing that somebody typed.

Manufacturer's Model Name (0008,1090) is free text. What of it is a word of the list below is kept;
of a model that is not on it a keyed mark is made, which tells two models apart and leads nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from secondread.deid.terms import maker_of
from secondread.observe.keys import study_key

UNKNOWN = "unknown scanner"
_MARK_DIGITS = 6

# No name of a person is among them that stands alone in a model's name.
_NAMES = frozenset(
    # Siemens
    "MAGNETOM SKYRA PRISMA VERIO AVANTO AERA VIDA SOLA LUMINA TRIO TRIOTIM SYMPHONY SONATA ESPREE "
    "ESSENZA AMIRA ALTEA SEMPRA TERRA CIMA ALLEGRA CONCERTO HARMONY BIOGRAPH MMR MCT SOMATOM FORCE "
    "DEFINITION DRIVE EDGE FLASH SENSATION EMOTION PERSPECTIVE SCOPE SPIRIT CONFIDENCE GO.TOP "
    "GO.ALL GO.UP GO.NOW GO.SIM X.CITE X.CEED NAEOTOM PEAK AS AS+ PLUS DUO FIT "
    # GE
    "SIGNA DISCOVERY OPTIMA REVOLUTION LIGHTSPEED BRIGHTSPEED ARCHITECT PREMIER ARTIST EXPLORER "
    "PIONEER VOYAGER CREATOR EXCITE HDX HDXT HDE BRIVO PROFILE EVO APEX MAXIMA ASCEND FRONTIER VCT "
    "ULTRA HISPEED "
    # Philips
    "INGENIA ACHIEVA INTERA AMBITION ELITION EVOLUTION BRILLIANCE ICT IQON INGENUITY INCISIVE "
    "SPECTRAL PANORAMA MULTIVA PRODIVA GEMINI VEREOS GYROSCAN MX8000 CT CORE ELITE DSTREAM CX "
    "ACCESS BIG BORE TF "
    # Canon, Toshiba, Hitachi, Fujifilm
    "AQUILION VANTAGE TITAN GALAN ORIAN PRISM LIGHTNING GENESIS EXCELART FORTIAN SCENARIA SUPRIA "
    "OASIS ECHELON AIRIS APERTO ECLOS OVAL "
    # others
    "UMR UCT UPMR UMI NEUVIZ SWOOP BIOSPEC O-SCAN G-SCAN S-SCAN VISART ANYSCAN NANOSCAN BODYTOM "
    "CERETOM".split()
)
# MR750w, CT660, 64, 128, uMR780: a letter or three, at most three digits, a letter.
_NUMBERED = re.compile(r"(?:MR|CT|UMR|UCT|UMI|MX|GE)?[0-9]{1,3}W?")
_FIELD = re.compile(r"[0-9](?:\.[0-9]{1,2})?T?")
_SPLIT = re.compile(r"[\s_,;()]+")


def scanner_of(makers: Sequence[str], models: Sequence[str], secret: bytes) -> str:
    """What a scanner is called, such as 'Siemens MAGNETOM SKYRA'.

    Args:
        makers: values of Manufacturer.
        models: values of Manufacturer's Model Name; of several the first.
        secret: the node's own, for the mark of a model that is not known.
    """
    maker = maker_of(makers)
    said = models[0].strip().upper() if models else ""
    if not said:
        return maker or UNKNOWN
    words = [word for word in _SPLIT.split(said) if word]
    kept = [word for word in words if _is_known(word)]
    if not any(word in _NAMES for word in words):
        kept = [f"model {study_key(said, secret)[:_MARK_DIGITS]}"]
    return " ".join(filter(None, [maker, *kept]))


def _is_known(word: str) -> bool:
    return word in _NAMES or bool(_NUMBERED.fullmatch(word) or _FIELD.fullmatch(word))
