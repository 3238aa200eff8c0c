"""The whole table: every file of three data sets, by set.

``python -m tests.acceptance.odd_cases > docs/cases.md`` writes the documented one.
"""

from __future__ import annotations

import sys

from tests.acceptance.cases import Case, as_markdown
from tests.acceptance.odd_cases_kept import ODD_OTHERS
from tests.acceptance.odd_cases_series import CT_HEAD, MR_HEAD, ODD_SERIES
from tests.acceptance.odd_cases_single import ODD_IMAGES

SETS: dict[str, tuple[Case, ...]] = {
    "ct_head_phantom_gantry_tilt": CT_HEAD,
    "mr_t1_t2_siemens_trio_missing_slice": MR_HEAD,
    "odd_dicom": (*ODD_SERIES, *ODD_IMAGES, *ODD_OTHERS),
}

_OPENING = """\
# Odd images, and what becomes of each

Three sets of real files that scanners, archives and test suites left behind are sent to intake and
read as the pipeline reads them: each has to end as one exact volume or with a reason by name.
`tests/acceptance/test_odd_cases.py` checks every row, and that every file has one; this page is
made of the same rows by `python -m tests.acceptance.odd_cases`. The sets are not part of the
project.

What a row expects was found with other programs: DCMTK, pydicom, GDCM. In the columns:

- **intake**: `stored`, the status of the C-STORE response (PS3.4 B.2.3), `no context` where no
  presentation context would be accepted, `not DICOM` where there is nothing to announce.
- **pixels**: `as GDCM`: the values are those that SimpleITK reads, bit for bit; `as stored`: native
  bits, because GDCM turns MONOCHROME1 round or cannot read the file; or why they are not read.
- **volume**: slices × rows × columns and the step between slices, each slice at its place in the
  patient and with its own pixels; or the name of the refusal and what its sentence says. Some
  series lost their Frame of Reference UID to an anonymiser, so they are refused; what their slices
  make when they get one is told beside it. `never given to a model` names why selection passes a
  series over, whatever its geometry is, even for a model that takes everything.
"""
_TABLES = (
    (
        "A head phantom with a tilted gantry",
        "`ct_head_phantom_gantry_tilt`: two CT scanners.",
        CT_HEAD,
    ),
    (
        "A head with missing slices",
        "`mr_t1_t2_siemens_trio_missing_slice`: one MR examination.",
        MR_HEAD,
    ),
    ("Series", "`odd_dicom`: whole or partial series, and what may look like one.", ODD_SERIES),
    ("Single images", "`odd_dicom`: how pixels read.", ODD_IMAGES),
    ("No images", "`odd_dicom`: what is kept without being an image, or refused.", ODD_OTHERS),
)


def as_document() -> str:
    """``docs/cases.md``."""
    return _OPENING + as_markdown(_TABLES)


if __name__ == "__main__":
    sys.stdout.write(as_document())
