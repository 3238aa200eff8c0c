"""Rows of what is no image, or what intake refuses."""

from __future__ import annotations

from tests.acceptance.cases import (
    MISMATCH,
    NO_CONTEXT,
    NOT_DICOM,
    NOT_UNDERSTOOD,
    NOTHING,
    Case,
)
from tests.acceptance.odd_cases_series import NOWHERE

_DIR = "odd_dicom/dicomdirtests"
_CHARS = "odd_dicom/pydicom_charsets"
_NO_PIXELS = "no-pixels"

ODD_OTHERS = (
    Case(
        files=(
            f"{_DIR}/DICOMDIR*",
            f"{_DIR}/TINY_ALPHA/DICOMDIR",
            "odd_dicom/dcm4che/DICOMDIR",
            "odd_dicom/dwv/DICOMDIR",
        ),
        what="directories of a medium (PS3.10 8), which are never sent",
        count=10,
        each=True,
        intake=NO_CONTEXT,
        values=NOTHING,
    ),
    Case(
        files=(f"{_DIR}/README.txt", f"{_DIR}/TINY_ALPHA/README"),
        what="texts",
        count=2,
        each=True,
        intake=NOT_DICOM,
        values=NOTHING,
    ),
    Case(
        files=(
            "odd_dicom/misc/54-implicit-file-meta-info.dcm",
            "odd_dicom/misc/OT-PAL-8-face.dcm",
            "odd_dicom/dcm4che/no_preamble_dicm_in_data",
        ),
        what="data sets without preamble, so no DICOM files (PS3.10 7.1)",
        count=3,
        each=True,
        intake=NOT_DICOM,
        values=NOTHING,
    ),
    Case(
        files=(f"{_DIR}/TINY_ALPHA/PT*/*",),
        what="CT objects without pixels, rows and place",
        count=50,
        values=_NO_PIXELS,
        volume=NOWHERE,
        never="no-images",
    ),
    Case(
        files=("odd_dicom/cornerstone/no-pixel-data.dcm", "odd_dicom/dcm4che/report_dfl"),
        what="structured reports, one deflated",
        count=2,
        each=True,
        values=_NO_PIXELS,
        volume=NOWHERE,
        never="no-images",
    ),
    Case(
        files=("odd_dicom/dwv/gdcm-CT-MONO2-8-abdo.dcm",),
        what="a secondary capture whose Series Instance UID is “REMSAMPLES1” (PS3.5 9.1)",
        by_meta=NO_CONTEXT,
        intake=NOT_UNDERSTOOD,
        values=NOTHING,
    ),
    Case(
        files=("odd_dicom/dwv/dwv-test_no-number-rows.dcm",),
        what="an object without SOP Class UID and Rows",
        intake=NO_CONTEXT,
        values=NOTHING,
    ),
    Case(
        files=("odd_dicom/dcm4che/3gb-bulk-data-truncated",),
        what="pixels of 3 GB of which 90 kB are there",
        intake=NOT_UNDERSTOOD,
        values=NOTHING,
    ),
    Case(
        files=("odd_dicom/pydicom_data/emri_small_jpeg_2k_lossless_too_short.dcm",),
        what="cut short in the middle of a sequence",
        intake=NOT_UNDERSTOOD,
        values=NOTHING,
    ),
    Case(
        files=("odd_dicom/pydicom_data/bad_sequence.dcm",),
        what="a CT slice whose SOP Instance UID is no UID",
        intake=NOT_UNDERSTOOD,
        values=NOTHING,
    ),
    Case(
        files=(f"{_CHARS}/chrJapMulti*.dcm",),
        what="radiographs whose pixels were removed; their file meta information names another",
        count=2,
        each=True,
        intake=MISMATCH,
        values=NOTHING,
    ),
    Case(
        files=(f"{_CHARS}/chrKoreanMulti.dcm",),
        what="a radiograph whose pixels were removed",
        intake=MISMATCH,
        values=NOTHING,
    ),
    Case(
        files=(f"{_CHARS}/chrSQEncoding*.dcm",),
        what="fragments of data sets without SOP Class UID",
        count=2,
        each=True,
        by_meta=NOT_UNDERSTOOD,
        intake=NO_CONTEXT,
        values=NOTHING,
    ),
)
