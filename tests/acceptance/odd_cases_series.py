"""Rows of series: what is, or is not, one sound volume."""

from __future__ import annotations

from tests.acceptance.cases import MISMATCH, NO_CONTEXT, NOTHING, PLAIN, Case, Refused, Sound

NO_FRAME = Refused("no-frame-of-reference")
SINGLE = Refused("not-enough-slices")
NOWHERE = Refused("no-geometry")
COLOUR = "colour"
_NOT_STORABLE = {"intake": NO_CONTEXT, "values": NOTHING}

CT_HEAD = (
    Case(
        files=("In/GE/*.dcm",),
        what="tilted by 18.5°; 14 slices 4.0 mm apart, one gap of 1.1 mm, 14 slices 7.0 mm apart",
        count=28,
        volume=Refused("uneven-spacing", ("varies from 1.08 to 7.00 mm", "lean by 18.5 degrees")),
    ),
    Case(
        files=("In/Philips/S21570/S2010/I*",),
        what="28 slices of a head phantom",
        count=28,
        volume=Sound((28, 512, 512), 5.0),
    ),
    Case(
        files=("In/Philips/S21610/S2010/I*",),
        what="54 slices, the gantry tilted by 18.5°",
        count=54,
        volume=Sound((54, 512, 512), 2.5, 18.5),
    ),
    Case(
        files=("In/Philips/S21570/S1000/I10", "In/Philips/S21610/S1000/I10"),
        what="a scanogram of one image",
        count=2,
        each=True,
        volume=SINGLE,
        never="image-type",
    ),
    Case(
        files=("In/Philips/S21610/S4010/I*",),
        what="secondary captures: two scanograms of 256 × 512, three pages in RGB without a place",
        count=5,
        values={"*/I[12]0": "as GDCM", "*": COLOUR},
        volume=NOWHERE,
        never="secondary-capture",
    ),
    Case(
        files=("DICOMDIR", "In/Philips/*/DIRFILE"),
        what="directories of a medium (PS3.10 8), which are never sent",
        count=6,
        each=True,
        **_NOT_STORABLE,
    ),
)

MR_HEAD = (
    Case(
        files=("adi_brain/36*",),
        series=5,
        what="175 slices; image 115 of 176 is missing",
        count=175,
        volume=Refused(
            "missing-slices",
            (
                "One slice is missing",
                "between image 114 at (-42.1, -133.1, 129.6) mm and image 116 at "
                "(-44.1, -133.0, 129.5) mm",
                "2.00 mm apart instead of 1.00 mm",
            ),
        ),
    ),
    Case(
        files=("adi_brain/36*",),
        series=6,
        what="55 slices of 512 × 384; image 35 of 56 is missing",
        count=55,
        volume=Refused(
            "missing-slices",
            ("One slice is missing", "between image 34 at", "and image 36 at", "5.00 mm apart"),
        ),
    ),
    Case(
        files=("adi_brain/36747043", "adi_brain/36747062"),
        what="perfusion maps, each a mosaic of many slices in one image",
        count=2,
        each=True,
        volume=Refused("mosaic"),
        never="image-type",
    ),
    Case(
        files=("adi_brain/README.md", "adi_brain/mesh*.stl"),
        what="a text and two surface meshes",
        count=3,
        each=True,
        intake="not DICOM",
        values=NOTHING,
    ),
)

_ICO = "odd_dicom/icometrix"
_DIR = "odd_dicom/dicomdirtests"

ODD_SERIES = (
    Case(
        files=("odd_dicom/enhanced/BRTUM001",),
        what="enhanced MR, 15 sagittal frames",
        volume=Sound((15, 256, 256), 6.0),
    ),
    Case(
        files=("odd_dicom/enhanced/BRTUM003",),
        what="enhanced MR, 24 axial frames stored as 1, 3, 5 …, 2, 4, 6 … of their places",
        volume=Sound((24, 256, 256), 6.0),
    ),
    Case(
        files=("odd_dicom/enhanced/BRTUM00[45]",),
        what="enhanced MR, 24 axial frames in order",
        count=2,
        each=True,
        volume=Sound((24, 256, 256), 6.0),
    ),
    Case(
        files=(f"{_ICO}/anatomical/001/*",),
        what="enhanced MR of 8 frames with rescale, anonymised: no Frame of Reference UID",
        by_meta=MISMATCH,
        volume=NO_FRAME,
        framed=Sound((8, 256, 256), 1.2),
    ),
    Case(
        files=(f"{_ICO}/anatomical/001_implicit/*",),
        what="the same kind, implicit VR, oblique",
        by_meta=MISMATCH,
        volume=NO_FRAME,
        framed=Sound((8, 256, 256), 1.0),
    ),
    Case(
        files=(f"{_ICO}/siemens_multiframe/anatomical/001/*",),
        what="enhanced MR of 8 frames of another vendor",
        volume=NO_FRAME,
        framed=Sound((8, 256, 256), 0.9),
    ),
    Case(
        files=(f"{_ICO}/hyperfine/anatomical/001/*",),
        what="enhanced MR of 8 frames with a place at the top as well, pixels not square",
        volume=NO_FRAME,
        framed=Sound((8, 138, 112), 5.0),
    ),
    *(
        Case(
            files=(f"{_ICO}/{folder}/001/*",),
            what=f"4 sagittal slices in {coding}, no Frame of Reference UID",
            count=4,
            volume=NO_FRAME,
            framed=Sound((4, 256, 256), 1.0),
        )
        for folder, coding in (
            ("compressed", "JPEG 2000 Lossless"),
            ("compressed_j2k", "JPEG 2000 Lossless"),
            ("compressed_jpeg", "JPEG Lossless"),
            ("compressed_jpegls", "JPEG-LS Lossless"),
            ("compressed_rle", "RLE Lossless"),
        )
    ),
    Case(
        files=(f"{_ICO}/failing/gantrytilting/001/*",),
        what="4 slices, the gantry tilted by 14°, no Frame of Reference UID",
        count=4,
        by_meta=MISMATCH,
        volume=NO_FRAME,
        framed=Sound((4, 512, 512), 5.0, 14.0),
    ),
    Case(
        files=(f"{_ICO}/failing/notavolume/001/*",),
        what="4 images of one place, acquisitions 12 to 15 (contrast monitoring)",
        count=4,
        volume=Refused("duplicate-positions"),
    ),
    Case(
        files=(f"{_ICO}/failing/slicecount/001/*",),
        what="2 slices",
        count=2,
        by_meta=MISMATCH,
        volume=SINGLE,
    ),
    Case(
        files=(f"{_ICO}/failing/sliceincrement/001/*",),
        what="4 slices 5 mm apart, and a hole of 10 mm between images 9 and 10",
        count=4,
        by_meta=MISMATCH,
        volume=Refused(
            "missing-slices",
            ("between image 9 at", "and image 10 at", "10.00 mm apart instead of 5.00 mm"),
        ),
    ),
    Case(
        files=(f"{_ICO}/failing/sliceincrement/002/*",),
        what="tilted by 15.5°, and image 4 of 1 to 5 is missing",
        count=4,
        volume=Refused("missing-slices", ("between image 3 at", "and image 5 at")),
    ),
    Case(
        files=(f"{_ICO}/failing/sliceorientation/001/*",),
        what="2 sagittal and 2 coronal slices under one Series Instance UID",
        count=4,
        by_meta=MISMATCH,
        volume=Refused("mixed-orientations"),
    ),
    Case(
        files=("odd_dicom/dwv/bbmri-*.dcm",),
        what="every ninth slice of a series: 6 oblique slices 9 mm apart",
        count=6,
        volume=Sound((6, 256, 256), 9.0),
    ),
    Case(
        files=("odd_dicom/dwv/osirix-toutatix-10?.dcm",),
        what="2 slices in JPEG 2000",
        count=2,
        volume=SINGLE,
    ),
    Case(
        files=(f"{_DIR}/98892001/CT5N/*",),
        what="5 slices of two acquisitions that follow each other in space",
        count=5,
        volume=Sound((5, 16, 16), 2.5),
    ),
    Case(
        files=(f"{_DIR}/77654033/CT2/*",),
        what="slices 18, 180, 181 and 182 of a series, 1.25 mm apart",
        count=4,
        volume=Refused("missing-slices", ("161 slices are missing", "image 18 at")),
    ),
    Case(
        files=(f"{_DIR}/98892001/CT2N/*",),
        what="two scanograms, frontal and lateral",
        count=2,
        volume=SINGLE,
        never="image-type",
    ),
    Case(
        files=(
            f"{_DIR}/98892003/MR2/4950",
            f"{_DIR}/98892003/MR2/4981",
            f"{_DIR}/98892003/MR2/5011",
        ),
        what="a localizer: one slice in each of three orientations",
        count=3,
        volume=Refused("mixed-orientations"),
    ),
    Case(
        files=(f"{_DIR}/98892003/MR2/6*",),
        what="another of the kind",
        count=3,
        volume=Refused("mixed-orientations"),
    ),
    Case(
        files=(f"{_DIR}/98892003/MR700/*",),
        what="7 projections of an angiography, turned about an axis",
        count=7,
        volume=Refused("mixed-orientations"),
        never="image-type",
    ),
    Case(
        files=(f"{_DIR}/98892003/MR1/*", f"{_DIR}/98892003/MR2/15970"),
        what="localizers of one image",
        count=4,
        each=True,
        volume=SINGLE,
    ),
    Case(
        files=("odd_dicom/cornerstone/CT0012.fragmented_no_bot_jpeg_baseline.51.dcm",),
        what="enhanced CT of 2 frames in JPEG of 12 bits, fragmented, without an offset table",
        volume=SINGLE,
    ),
    Case(
        files=("odd_dicom/pydicom_data/eCT_Supplemental.dcm",),
        what="the same, native, with supplemental colour tables, rescale per frame",
        volume=SINGLE,
    ),
    Case(
        files=(f"{_DIR}/77654033/CR?/*",),
        what="radiographs, MONOCHROME1, which changes how they are shown and not their values",
        count=3,
        each=True,
        values=PLAIN,
        volume=NOWHERE,
    ),
)
