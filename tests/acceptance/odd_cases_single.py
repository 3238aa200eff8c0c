"""Rows of single images: how their pixels read. One image is never a volume."""

from __future__ import annotations

from tests.acceptance.cases import MISMATCH, NO_CONTEXT, NOTHING, PLAIN, Case, Refused
from tests.acceptance.odd_cases_series import COLOUR, NOWHERE, SINGLE

_CORNER = "odd_dicom/cornerstone"
_WG04 = "odd_dicom/wg04_ct_mr"
_PYDICOM = "odd_dicom/pydicom_data"
_PALETTE = "palette"

_COMPRESSED = (
    *(
        Case(
            files=(f"{_CORNER}/CTImage.dcm_{name}*",), what=f"a CT slice in {coding}", volume=SINGLE
        )
        for name, coding in (
            ("BigEndianExplicit", "Explicit VR Big Endian"),
            ("Deflated", "Deflated Explicit VR Little Endian"),
            ("LittleEndianExplicit", "Explicit VR Little Endian"),
            ("LittleEndianImplicit", "Implicit VR Little Endian"),
            ("RLELossless", "RLE Lossless"),
            ("JPEGProcess1Transfer", "JPEG Baseline, 8 bits, rescaled by 32.1216"),
            ("JPEGProcess2_4", "JPEG Extended, 12 bits, rescaled by 2.0002442"),
            ("JPEGProcess14Transfer", "JPEG Lossless, process 14"),
            ("JPEGProcess14SV1", "JPEG Lossless, process 14, selection value 1"),
            ("JPEGLSLossless", "JPEG-LS Lossless"),
            ("JPEGLSLossy", "JPEG-LS Near-Lossless"),
            ("JPEG2000LosslessOnly", "JPEG 2000 Lossless"),
            ("JPEG2000Transfer", "JPEG 2000"),
        )
    ),
    Case(files=(f"{_CORNER}/CTImage.dcm",), what="the same CT slice as it was", volume=SINGLE),
    Case(
        files=(
            f"{_CORNER}/CTImage.dcm_JPEGProcess10_12*",
            f"{_CORNER}/CTImage.dcm_JPEGProcess6_8*",
        ),
        what="the same in two JPEG syntaxes that were retired (PS3.5 2004)",
        count=2,
        each=True,
        intake=NO_CONTEXT,
        values=NOTHING,
    ),
    *(
        Case(
            files=(f"{_WG04}/{pattern}",),
            what=f"slices of the WG-04 set, {coding}",
            count=count,
            each=True,
            volume=SINGLE,
        )
        for pattern, coding, count in (
            ("*_UNC", "native", 4),
            ("*_RLE", "RLE Lossless", 4),
            ("*_JPLL", "JPEG Lossless", 4),
            ("*_JPLY", "JPEG Extended of 12 bits", 2),
            ("*_JLSL", "JPEG-LS Lossless", 4),
            ("*_JLSN", "JPEG-LS Near-Lossless", 4),
            ("*_J2KR", "JPEG 2000 Lossless", 4),
            ("*_J2KI", "JPEG 2000", 4),
        )
    ),
)

_GREY = (
    Case(
        files=("odd_dicom/misc/20-wrong-transfer-syntax.dcm",),
        what="says JPEG-LS, but its pixels are not encapsulated (PS3.5 A.4)",
        values="undecodable-pixels",
        volume=SINGLE,
    ),
    Case(
        files=(f"{_PYDICOM}/693_*.dcm",),
        what="a CT slice of 14 bits: in JPEG 2000 under a header of 16 bits, and native",
        count=2,
        each=True,
        volume=SINGLE,
    ),
    Case(
        files=(f"{_PYDICOM}/explicit_VR-UN.dcm",),
        what="a CT slice in JPEG 2000, many elements with VR UN",
        volume=SINGLE,
    ),
    Case(
        files=(f"{_PYDICOM}/MR2_J2KI.dcm",),
        what="an MR slice of 1024 × 1024 in JPEG 2000, rescaled by 3.774114",
        volume=SINGLE,
    ),
    Case(
        files=(f"{_PYDICOM}/MR-SIEMENS-DICOM-WithOverlays.dcm",),
        what="an MR slice with overlays",
        volume=SINGLE,
    ),
    Case(
        files=(
            "odd_dicom/dcm4che/CT-JPEGLosslessSV1.dcm",
            "odd_dicom/dcm4che/MR-JPEGLosslessSV1.dcm",
        ),
        what="JPEG Lossless of 12 bits, and of 8 bits in cells of 16, rescaled by 41.1216",
        count=2,
        each=True,
        volume=SINGLE,
    ),
    Case(
        files=("odd_dicom/dwv/osirix-goudurix.dcm",),
        what="a CT slice, implicit VR",
        volume=SINGLE,
    ),
    Case(
        files=("odd_dicom/dwv/osirix-cerebrix.dcm",),
        what="an MR slice as secondary capture in JPEG 2000, rescaled by -1024",
        volume=SINGLE,
        never="secondary-capture",
    ),
    Case(
        files=("odd_dicom/dcm4che/ovly_p01.dcm",),
        what="secondary capture of 12 bits with an overlay in the high bits (GDCM cannot read it)",
        values=PLAIN,
        volume=NOWHERE,
        never="secondary-capture",
    ),
    Case(
        files=("odd_dicom/dcm4che/test16signed.dcm",),
        what="secondary capture, signed, all of 16 bits",
        volume=NOWHERE,
        never="secondary-capture",
    ),
    Case(
        files=(f"{_PYDICOM}/JPEG-LL.dcm", f"{_PYDICOM}/JPEG2000_UNC.dcm"),
        what="whole-body scintigrams, JPEG Lossless and native",
        count=2,
        each=True,
        volume=NOWHERE,
        never="secondary-capture",
    ),
    Case(
        files=(
            f"{_PYDICOM}/emri_small.dcm",
            f"{_PYDICOM}/emri_small_RLE.dcm",
            f"{_PYDICOM}/emri_small_big_endian.dcm",
            f"{_PYDICOM}/emri_small_jpeg_2k_lossless.dcm",
            f"{_PYDICOM}/emri_small_jpeg_ls_lossless.dcm",
        ),
        what="enhanced MR of 10 frames without functional groups, in five transfer syntaxes",
        count=5,
        each=True,
        volume=NOWHERE,
    ),
    Case(
        files=(f"{_PYDICOM}/mlut_18.dcm",),
        what="12 bits, signed, with a Modality LUT",
        values="modality-table",
        volume=NOWHERE,
        never="secondary-capture",
    ),
    Case(
        files=(f"{_PYDICOM}/vlut_04.dcm",),
        what="8 bits with a VOI LUT, which changes how it is shown and not its values",
        volume=NOWHERE,
        never="secondary-capture",
    ),
    Case(
        files=(
            f"{_PYDICOM}/parametric_map_float.dcm",
            f"{_PYDICOM}/parametric_map_double_float.dcm",
        ),
        what="parametric maps of one frame, 32 and 64 bit floating point",
        count=2,
        each=True,
        values=PLAIN,
        volume=SINGLE,
        never="no-images",
    ),
    Case(
        files=("odd_dicom/pydicom_charsets/chr[AFGHIRX]*",),
        what="secondary captures with names in many character sets",
        count=12,
        each=True,
        volume=NOWHERE,
        never="secondary-capture",
    ),
)

_NOT_GREY = (
    Case(
        files=(f"{_CORNER}/TestPattern_Palette*.dcm",),
        what="palette colour, tables of 8 and of 16 bits",
        count=2,
        each=True,
        values=_PALETTE,
        volume=SINGLE,
        never="secondary-capture",
    ),
    Case(
        files=(
            f"{_CORNER}/TestPattern_RGB.dcm",
            f"{_CORNER}/TestPattern_JPEG-LS-*.dcm",
            f"{_CORNER}/TestPattern_JPEG-Baseline_*.dcm",
        ),
        what="a colour pattern: RGB native and JPEG-LS, YBR in JPEG Baseline",
        count=5,
        each=True,
        values=COLOUR,
        volume=SINGLE,
        never="secondary-capture",
    ),
    Case(
        files=(f"{_CORNER}/TestPattern_JPEG-Lossless_RGB.dcm",),
        what="the same in JPEG Lossless; its file meta information names another object",
        by_meta=MISMATCH,
        values=COLOUR,
        volume=SINGLE,
        never="secondary-capture",
    ),
    Case(
        files=(
            f"{_CORNER}/US-YBR_FULL_422-EVRLE.dcm",
            "odd_dicom/misc/US-RGB-8-epicard.dcm",
            f"{_PYDICOM}/color-pl.dcm",
        ),
        what="ultrasound in colour: YBR_FULL_422, RGB big endian, RGB by plane",
        count=3,
        each=True,
        values=COLOUR,
        volume=NOWHERE,
    ),
    Case(
        files=(
            f"{_CORNER}/no-pixel-spacing.dcm",
            f"{_PYDICOM}/gdcm-US-ALOKA-16_big.dcm",
            "odd_dicom/misc/US-PAL-8-10x-echo.dcm",
        ),
        what="ultrasound in palette colour: RLE, 16 bits big endian, 10 frames",
        count=3,
        each=True,
        values=_PALETTE,
        volume=NOWHERE,
    ),
    Case(
        files=("odd_dicom/dcm4che/will-jxl.dcm",),
        what="ultrasound of 27 frames in colour, in JPEG XL",
        values=COLOUR,
        volume=NOWHERE,
    ),
    Case(
        files=(f"{_PYDICOM}/liver*.dcm",),
        what="segmentations of 3 frames and one bit: native, JPEG 2000, RLE, deflated frames",
        count=5,
        each=True,
        values="bits",
        volume=Refused("bits"),
        never="no-images",
    ),
)

ODD_IMAGES = (*_COMPRESSED, *_GREY, *_NOT_GREY)
