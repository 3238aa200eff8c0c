"""The lists that terms and names of a technical attribute are taken from."""

from __future__ import annotations

import re
from collections.abc import Sequence

MODALITIES = frozenset("CR CT DX MG MR NM OPT PT RF US XA".split())
"""Modality of images (PS3.3 C.7.3.1.1.1)."""

POSITIONS = frozenset(
    "HFP HFS HFDR HFDL FFDR FFDL FFP FFS LFP LFS RFP RFS AFDR AFDL PFDR PFDL".split()
)
"""Patient Position (PS3.3 C.7.3.1.1.2)."""

SEQUENCES = frozenset("SE IR GR EP RM".split())
SEQUENCE_VARIANTS = frozenset("SK MTC SS TRSS SP MP OSP TOF NONE".split())
SCAN_OPTIONS = frozenset("PER RG CG PPG FC PFF PFP SP FS".split())
"""Scanning Sequence, Sequence Variant and Scan Options of MR (PS3.3 C.8.3.1)."""

CONTRASTS = frozenset(
    "DIFFUSION FLOW_ENCODED FLUID_ATTENUATED PERFUSION PROTON_DENSITY STIR TAGGING T1 T2 T2_STAR "
    "TOF UNKNOWN".split()
)
"""Acquisition Contrast (PS3.3 C.8.13.3.1.4)."""

UNPAIRED_PARTS = frozenset(
    "ABDOMEN ABDOMENPELVIS AORTA BACK BLADDER BRAIN CEREBELLUM CERVIX CHEST CHESTABDOMEN "
    "CHESTABDPELVIS CIRCLEOFWILLIS COCCYX COLON CORONARYARTERY CSPINE CTSPINE DUODENUM ESOPHAGUS "
    "FACE GALLBLADDER HEAD HEADNECK HEART ILEUM ILIUM JAW JEJUNUM LARYNX LIVER LSPINE LSSPINE "
    "MAXILLA MEDIASTINUM MOUTH NECK NECKCHEST NECKCHESTABDOMEN NECKCHESTABDPELV NOSE PANCREAS "
    "PELVIS PENIS PHARYNX PROSTATE RECTUM SCALP SKULL SPINE SPLEEN SSPINE STERNUM STOMACH THYMUS "
    "THYROID TLSPINE TONGUE TRACHEA TSPINE UTERUS VAGINA VULVA WHOLEBODY".split()
)
"""Body Part Examined of which there is one, so that it has no side."""

BODY_PARTS = UNPAIRED_PARTS | frozenset(
    "ADRENAL ANKLE AXILLA BILEDUCT BREAST BRONCHUS BUTTOCK CALCANEUS CALF CAROTID CHEEK CLAVICLE "
    "CORNEA EAR ELBOW EXTREMITY EYE EYELID FEMUR FIBULA FINGER FOOT HAND HIP HUMERUS IAC JOINT "
    "KIDNEY KNEE LEG LUNG MANDIBLE ORBIT OVARY PAROTID PATELLA RIB SCAPULA SCLERA SCROTUM SELLA "
    "SHOULDER SINUS TEMPORALBONE TESTIS THIGH THUMB TIBIA TMJ TOE ULNA UPPERARM WRIST "
    "ZYGOMA".split()
)
"""Body Part Examined (PS3.16 annex L): regions and organs. What is rarely imaged and hundreds of
single vessels are left out."""

NO_AGENT = frozenset({"", "NONE", "NO", "N", "W/O", "WITHOUT", "NO CONTRAST", "UNENHANCED"})
"""What stands in Contrast/Bolus Agent where none was given."""

_MAKERS = tuple(
    (name, re.compile(rf"\b(?:{words})\b", re.IGNORECASE))
    for name, words in (
        ("Agfa", "agfa"),
        ("Bruker", "bruker"),
        ("Canon", "canon"),
        ("Carestream", "carestream"),
        ("Esaote", "esaote"),
        ("Fujifilm", "fuji|fujifilm"),
        ("GE", "ge|gems|general electric"),
        ("Hitachi", "hitachi"),
        ("Hyperfine", "hyperfine"),
        ("Mediso", "mediso"),
        ("Neusoft", "neusoft"),
        ("Philips", "philips"),
        ("Planmeca", "planmeca"),
        ("Samsung", "samsung|neurologica"),
        ("Shimadzu", "shimadzu"),
        ("Siemens", "siemens"),
        ("Toshiba", "toshiba"),
        ("United Imaging", "uih|united imaging"),
    )
)

# The names that makers of CT scanners give their kernels; capital letters.
_KERNELS = frozenset(
    # GE
    "SOFT STANDARD STND STD STD+ DETAIL LUNG BONE BONEPLUS BONE+ BONE- EDGE EDGE+ CHEST CHST ULTRA "
    # Philips
    "A B C CA CB CC D E EA EB EC F L LA LB LC SA SB SC UA UB UC XCA XCB XCC YA YB YC YD YE "
    # Hitachi, Neusoft and others
    "SMOOTH SHARP SHARP+ SHARP++ BRAIN ABDOMEN".split()
)
# Siemens, such as B30F, I31F, BR40D and HD38; Canon and Toshiba, such as FC18 and FC52-H.
_NUMBERED_KERNEL = re.compile(
    r"(?:[ABCDHIJQSTUV]|B[FLMPRV]|H[CDFLPRV]|Q[RS]|S[ADH]|T[DF]|U[HR])[1-9][0-9][DFHMSUV]?"
    r"|FC[0-9][0-9](?:-H)?|FL0[1-9]"
)
_STRENGTHS = frozenset("12345")


def maker_of(said: Sequence[str]) -> str:
    """The name of the one maker that is named; '' where it is none of the list, or several."""
    found = {name for value in said for name, pattern in _MAKERS if pattern.search(value)}
    return found.pop() if len(found) == 1 else ""


def kernel_of(said: Sequence[str]) -> str:
    """The kernel in capital letters; '' where it is none that is known, or there are several.

    A strength of iterative reconstruction, which Siemens writes as a second value, is left out.
    """
    names = {value.strip().upper() for value in said} - _STRENGTHS
    name = names.pop() if len(names) == 1 else ""
    return name if name in _KERNELS or _NUMBERED_KERNEL.fullmatch(name) else ""
