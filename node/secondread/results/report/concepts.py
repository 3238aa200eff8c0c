"""The coded concepts that a report is made of: names, derivations, units.

Those of ``99SECONDREAD`` are our own, where DICOM has none; docs/reports.md defines them.
"""

from __future__ import annotations

from secondread.domain.code import Code

PRIVATE_SCHEME = "99SECONDREAD"
PRIVATE_SCHEME_NAME = "SecondRead concepts, defined in its docs/reports.md"

# The document.
REPORT_TITLE = Code("126000", "DCM", "Imaging Measurement Report")
LANGUAGE = Code("121049", "DCM", "Language of Content Item and Descendants")
OBSERVER_TYPE = Code("121005", "DCM", "Observer Type")
DEVICE = Code("121007", "DCM", "Device")
DEVICE_UID = Code("121012", "DCM", "Device Observer UID")
DEVICE_NAME = Code("121013", "DCM", "Device Observer Name")
DEVICE_MANUFACTURER = Code("121014", "DCM", "Device Observer Manufacturer")
DEVICE_MODEL = Code("121015", "DCM", "Device Observer Model Name")
DEVICE_SERIAL = Code("121016", "DCM", "Device Observer Serial Number")
PROCEDURE_REPORTED = Code("121058", "DCM", "Procedure reported")
PRIOR_REPORT = Code("122075", "DCM", "Prior report for current patient")
IMAGING_MEASUREMENTS = Code("126010", "DCM", "Imaging Measurements")
QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")
SUMMARY_OF_ANALYSES = Code("111065", "DCM", "Summary of Analyses")
SUCCEEDED = Code("111222", "DCM", "Succeeded")
NOT_ATTEMPTED = Code("111225", "DCM", "Not Attempted")
COMMENT = Code("121106", "DCM", "Comment")

# The image library.
IMAGE_LIBRARY = Code("111028", "DCM", "Image Library")
IMAGE_LIBRARY_GROUP = Code("126200", "DCM", "Image Library Group")
MODALITY = Code("121139", "DCM", "Modality")
FRAME_OF_REFERENCE = Code("112227", "DCM", "Frame of Reference UID")
ROWS = Code("110910", "DCM", "Pixel Data Rows")
COLUMNS = Code("110911", "DCM", "Pixel Data Columns")
SOURCE = Code("260753009", "SCT", "Source")

# A measurement group.
MEASUREMENT_GROUP = Code("125007", "DCM", "Measurement Group")
TRACKING_ID = Code("112039", "DCM", "Tracking Identifier")
TRACKING_UID = Code("112040", "DCM", "Tracking Unique Identifier")
FINDING = Code("121071", "DCM", "Finding")
FINDING_SITE = Code("363698007", "SCT", "Finding Site")
LATERALITY = Code("272741003", "SCT", "Laterality")
TOPOGRAPHICAL_MODIFIER = Code("106233006", "SCT", "Topographical modifier")
LEFT = Code("7771000", "SCT", "Left")
RIGHT = Code("24028007", "SCT", "Right")
SIDES = {"left": LEFT, "right": RIGHT}
ALGORITHM_NAME = Code("111001", "DCM", "Algorithm Name")
ALGORITHM_VERSION = Code("111003", "DCM", "Algorithm Version")
REFERENCED_SEGMENT = Code("121191", "DCM", "Referenced Segment")
REFERENCED_SEGMENTATION_FRAME = Code("121214", "DCM", "Referenced Segmentation Frame")
SOURCE_SERIES = Code("121232", "DCM", "Source series for segmentation")
SOURCE_IMAGE = Code("121233", "DCM", "Source image for segmentation")
IMAGE_REGION = Code("111030", "DCM", "Image Region")
CENTER = Code("111010", "DCM", "Center")
PATH = Code("121055", "DCM", "Path")
CERTAINTY = Code("111012", "DCM", "Certainty of Finding")
"""'The likelihood that the finding detected is in fact the type of finding identified' (PS3.16 D),
from 0 to 100 %."""

# A number.
MEASUREMENT_METHOD = Code("370129005", "SCT", "Measurement Method")
DERIVATION = Code("121401", "DCM", "Derivation")
NORMALITY = Code("121402", "DCM", "Normality")
NORMAL = Code("17621005", "SCT", "Normal")
ABNORMALLY_HIGH = Code("371879000", "SCT", "Abnormally High")
ABNORMALLY_LOW = Code("371880002", "SCT", "Abnormally Low")
LOWER_LIMIT = Code("385524004", "SCT", "Normal Range Lower Limit")
UPPER_LIMIT = Code("371933006", "SCT", "Normal Range Upper Limit")
VOLUME = Code("118565006", "SCT", "Volume")
VOXEL_SUM = Code("126030", "DCM", "Sum of segmented voxel method for volume")
MR_SIGNAL = Code("110852", "DCM", "MR signal intensity")
CT_ATTENUATION = Code("112031", "DCM", "Attenuation Coefficient")
SUV_BODY_WEIGHT = Code("126401", "DCM", "SUVbw")
VOXEL_VALUE = Code("VALUE", PRIVATE_SCHEME, "Value of the voxels")
LONG_AXIS = Code("103339001", "SCT", "Long axis")
SHORT_AXIS = Code("103340004", "SCT", "Short axis")
SURFACE_AREA = Code("SURFACE", PRIVATE_SCHEME, "Surface area")
VOXEL_FACES = Code("FACES", PRIVATE_SCHEME, "Weighted voxel faces method for surface area")
MODEL_OUTPUT = Code("MODEL", PRIVATE_SCHEME, "Output of the model")
COMPARISON = Code("COMPARISON", PRIVATE_SCHEME, "Comparison with prior report")
VOXEL_COUNT = Code("VOXELS", PRIVATE_SCHEME, "Number of voxels")
CHANGE = Code("CHANGE", PRIVATE_SCHEME, "Change of volume since prior report")
RELATIVE_CHANGE = Code("CHANGEREL", PRIVATE_SCHEME, "Relative change of volume since prior report")

DERIVATIONS = {
    "mean": Code("373098007", "SCT", "Mean"),
    "deviation": Code("386136009", "SCT", "Standard deviation"),
    "minimum": Code("255605001", "SCT", "Minimum"),
    "maximum": Code("56851009", "SCT", "Maximum"),
    "median": Code("373099004", "SCT", "Median"),
    "p05": Code("371888009", "SCT", "5th percentile"),
    "p10": Code("371890005", "SCT", "10th percentile"),
    "p25": Code("P25", PRIVATE_SCHEME, "25th percentile"),
    "p75": Code("P75", PRIVATE_SCHEME, "75th percentile"),
    "p90": Code("371887004", "SCT", "90th percentile"),
    "p95": Code("371889001", "SCT", "95th percentile"),
}
"""Of the voxels' values, by the name in ``bundles.output.STATISTICS`` (PS3.16 CID 7464 and 226)."""

# Units (UCUM).
MILLILITRE = Code("mL", "UCUM", "mL")
MILLIMETRE = Code("mm", "UCUM", "mm")
SQUARE_CENTIMETRE = Code("cm2", "UCUM", "square centimeter")
PERCENT = Code("%", "UCUM", "Percent")
PIXELS = Code("{pixels}", "UCUM", "Pixels")
VOXELS = Code("{voxels}", "UCUM", "Voxels")
HOUNSFIELD = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
UPTAKE_UNIT = Code("g/ml{SUVbw}", "UCUM", "Standardized Uptake Value body weight")
ARBITRARY = Code("[arb'U]", "UCUM", "arbitrary unit")

SIGNAL = {"MR": (MR_SIGNAL, ARBITRARY), "CT": (CT_ATTENUATION, HOUNSFIELD)}
"""What the voxels of a modality are, and their unit. MR signal has no unit, but it is not a pure
number either (PS3.16 CID 7181)."""
UPTAKE = (SUV_BODY_WEIGHT, UPTAKE_UNIT)
"""What the voxels are where the model reads uptake values."""
NUCLEAR_UNITS = {
    "BQML": Code("Bq/ml", "UCUM", "Becquerels/milliliter"),
    "CNTS": Code("{counts}", "UCUM", "Counts"),
    "CPS": Code("{counts}/s", "UCUM", "Counts per second"),
    "PROPCNTS": Code("{propcounts}", "UCUM", "Proportional to counts"),
}
"""Units (0054,1001) of an image of emissions (PS3.3 C.8.9.1.1.3)."""
