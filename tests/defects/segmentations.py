"""Defects of segmentations, and those that any object can have."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset

from tests.defects.seeding import ANY, ELSEWHERE, SEGMENTATIONS, SOURCE_SERIES, Seeds

seeds = Seeds()
BINARY, LABELMAP, FRACTIONAL = SEGMENTATIONS


def frame_of(found: Dataset, index: int = 0) -> Dataset:
    group: Dataset = found.PerFrameFunctionalGroupsSequence[index]
    return group


def source_of(found: Dataset, index: int = 0) -> Dataset:
    image: Dataset = frame_of(found, index).DerivationImageSequence[0].SourceImageSequence[0]
    return image


def change_byte(found: Dataset, at: int, change: int) -> None:
    pixels = bytearray(found.PixelData)
    pixels[at] = pixels[at] ^ change
    found.PixelData = bytes(pixels)


@seeds(ANY, "patient or study is not the source's: PatientID")
def _move_patient(found):
    """another patient"""
    found.PatientID = "SOMEBODY-ELSE"


@seeds(ANY, "patient or study is not the source's: PatientName")
def _correct_name(found):
    """the patient's name in other letters"""
    found.PatientName = str(found.PatientName).swapcase()


@seeds(ANY, "patient or study is not the source's: StudyInstanceUID")
def _move_study(found):
    """another study"""
    found.StudyInstanceUID = ELSEWHERE


@seeds(ANY, "PatientBirthDate")
def _drop_birth_date(found):
    """no Patient's Birth Date, not even an empty one"""
    del found.PatientBirthDate


@seeds(ANY, "does not name its algorithm")
def _drop_equipment(found):
    """no algorithm among the contributing equipment"""
    del found.ContributingEquipmentSequence[1]


@seeds(ANY, "names another training")
def _other_training(found):
    """another training of the model"""
    found.ContributingEquipmentSequence[1].DeviceUID = ELSEWHERE


@seeds(ANY, "names another version of the model")
def _other_version(found):
    """another version of the model"""
    found.ContributingEquipmentSequence[1].SoftwareVersions = "0.9"


@seeds(ANY, "would join a series of the scanner")
def _join_the_scanner(found):
    """the Series Instance UID of the source"""
    found.SeriesInstanceUID = SOURCE_SERIES


@seeds(ANY, "is not under the node's own root")
def _foreign_root(found):
    """a SOP Instance UID under somebody else's root"""
    found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID = "1.2.840.99999.1"


@seeds(ANY, "another Series Number")
def _other_series_number(found):
    """a Series Number that sorts elsewhere"""
    found.SeriesNumber = 1


@seeds(ANY, "for research only")
def _unmarked_series(found):
    """a Series Description without the mark of research"""
    found.SeriesDescription = "Structures of the head"


@seeds(ANY, "is not dated by its job")
def _other_date(found):
    """the date of today"""
    found.InstanceCreationDate = "20990101"


@seeds(ANY, "lacks SoftwareVersions")
def _drop_software(found):
    """no Software Versions"""
    del found.SoftwareVersions


@seeds(ANY, "lacks Modality")
def _drop_modality(found):
    """no Modality (type 1)"""
    del found.Modality


@seeds(ANY, "file meta information names another object")
def _other_meta(found):
    """file meta information of another object"""
    found.file_meta.MediaStorageSOPInstanceUID = ELSEWHERE


@seeds(SEGMENTATIONS, "Frame of Reference is not the source's")
def _move_frame_of_reference(found):
    """another Frame of Reference"""
    found.FrameOfReferenceUID = ELSEWHERE


@seeds(SEGMENTATIONS, "qualified PRODUCT, the configuration says RESEARCH")
def _claim_product(found):
    """research that calls itself a product"""
    found.ContentQualification = "PRODUCT"


@seeds(SEGMENTATIONS, "does not say from which source image it derives")
def _drop_derivation(found):
    """a frame without derivation image"""
    del frame_of(found).DerivationImageSequence


@seeds(SEGMENTATIONS, "derives from an image that is not a source")
def _derive_from_nothing(found):
    """a frame that derives from an image that does not exist"""
    source_of(found).ReferencedSOPInstanceUID = ELSEWHERE


@seeds(SEGMENTATIONS, "wrong code or purpose")
def _wrong_purpose(found):
    """a source image with another purpose of reference"""
    source_of(found).PurposeOfReferenceCodeSequence[0].CodeValue = "121329"


@seeds(SEGMENTATIONS, "wrong code or purpose")
def _wrong_derivation(found):
    """another derivation than segmentation"""
    derivation = frame_of(found).DerivationImageSequence[0]
    derivation.DerivationCodeSequence[0].CodeValue = "113072"


@seeds(SEGMENTATIONS, "another SOP class than the image has")
def _wrong_source_class(found):
    """a source image with another SOP class"""
    source_of(found).ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"


@seeds(SEGMENTATIONS, "does not lie on its source slice")
def _shift_frame(found):
    """a frame 3 mm beside its slice"""
    position = frame_of(found).PlanePositionSequence[0]
    position.ImagePositionPatient[2] = float(position.ImagePositionPatient[2]) + 3.0


@seeds(SEGMENTATIONS, "does not lie on its source slice")
def _name_the_neighbour(found):
    """a frame that names the slice beside its own"""
    source_of(found, 0).ReferencedSOPInstanceUID = source_of(found, 1).ReferencedSOPInstanceUID


@seeds(SEGMENTATIONS, "does not lie on its source slice")
def _mirror(found):
    """rows that run the other way"""
    orientation = found.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    cosines = [float(value) for value in orientation.ImageOrientationPatient]
    orientation.ImageOrientationPatient = [-value for value in cosines[:3]] + cosines[3:]


@seeds(SEGMENTATIONS, "does not lie on its source slice")
def _stretch(found):
    """another Pixel Spacing"""
    measures = found.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.PixelSpacing = [1.3, 1.5]


@seeds(SEGMENTATIONS, "does not list exactly the source images")
def _forget_a_source(found):
    """a Referenced Series Sequence without one of the images"""
    del found.ReferencedSeriesSequence[0].ReferencedInstanceSequence[3]


@seeds(SEGMENTATIONS, "not numbered 1 to 4")
def _renumber(found):
    """segments 1, 7, 3 and 4"""
    segment = next(item for item in found.SegmentSequence if item.SegmentNumber == 2)
    segment.SegmentNumber = 7


@seeds(SEGMENTATIONS, "other codes than the model's manifest")
def _invent_a_code(found):
    """an invented SNOMED CT code"""
    first_segment(found).SegmentedPropertyTypeCodeSequence[0].CodeValue = "999999999"


@seeds(SEGMENTATIONS, "wrong side")
def _swap_sides(found):
    """right for left"""
    kind = first_segment(found).SegmentedPropertyTypeCodeSequence[0]
    kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeValue = "24028007"


@seeds(SEGMENTATIONS, "does not say on which")
def _drop_side(found):
    """no laterality"""
    kind = first_segment(found).SegmentedPropertyTypeCodeSequence[0]
    del kind.SegmentedPropertyTypeModifierCodeSequence


@seeds(SEGMENTATIONS, "does not say that an algorithm made it")
def _manual(found):
    """a segment drawn by hand"""
    first_segment(found).SegmentAlgorithmType = "MANUAL"


@seeds(SEGMENTATIONS, "names another version")
def _old_algorithm(found):
    """a segment of another version of the algorithm"""
    algorithm = first_segment(found).SegmentationAlgorithmIdentificationSequence[0]
    algorithm.AlgorithmVersion = "0.9"


@seeds(SEGMENTATIONS, "lacks its algorithm's name or family")
def _drop_family(found):
    """an algorithm without its family"""
    algorithm = first_segment(found).SegmentationAlgorithmIdentificationSequence[0]
    del algorithm.AlgorithmFamilyCodeSequence


@seeds(SEGMENTATIONS, "wrong or no tracking identifier")
def _drop_tracking(found):
    """a segment without Tracking UID"""
    del first_segment(found).TrackingUID


@seeds(SEGMENTATIONS, "share a Tracking UID")
def _share_tracking(found):
    """two segments with one Tracking UID"""
    numbered = {int(item.SegmentNumber): item for item in found.SegmentSequence}
    numbered[2].TrackingUID = numbered[1].TrackingUID


@seeds(SEGMENTATIONS, "has no colour")
def _drop_colour(found):
    """a segment without colour"""
    del first_segment(found).RecommendedDisplayCIELabValue


@seeds(SEGMENTATIONS, "lacks ContentCreatorName")
def _drop_creator(found):
    """no Content Creator's Name"""
    del found.ContentCreatorName


@seeds(SEGMENTATIONS, "number of frames")
def _lose_a_frame(found):
    """one functional group less than frames"""
    del found.PerFrameFunctionalGroupsSequence[-1]


@seeds(SEGMENTATIONS, "has not the length of its frames")
def _lose_pixels(found):
    """pixel data that ends early"""
    found.PixelData = bytes(found.PixelData)[:-2]


@seeds(SEGMENTATIONS, "of another kind than its destination wants")
def _rename_the_kind(found):
    """another Segmentation Type than the pixels have"""
    found.SegmentationType = "BINARY" if found.SegmentationType != "BINARY" else "FRACTIONAL"


@seeds(BINARY, "is not the model's answer")
def _flip_a_bit(found):
    """one voxel more or less"""
    change_byte(found, len(found.PixelData) // 3, 0x10)


@seeds(BINARY, "is not the model's answer")
def _clear_a_frame(found):
    """a frame without a voxel"""
    size = found.Rows * found.Columns // 8
    found.PixelData = bytes(size) + bytes(found.PixelData)[size:]


@seeds(BINARY, "is not the model's answer")
def _relabel_a_frame(found):
    """a frame of the wrong segment"""
    frame_of(found).SegmentIdentificationSequence[0].ReferencedSegmentNumber = 3


@seeds((BINARY, FRACTIONAL), "do not belong together")
def _forget_a_segment(found):
    """a frame of a segment that is not described"""
    frame_of(found).SegmentIdentificationSequence[0].ReferencedSegmentNumber = 9


@seeds(BINARY, "two frames for the same segment and slice")
def _repeat_a_frame(found):
    """the same frame twice"""
    size = found.Rows * found.Columns // 8
    groups = found.PerFrameFunctionalGroupsSequence
    groups[1] = groups[0]
    pixels = bytes(found.PixelData)
    found.PixelData = pixels[:size] + pixels[:size] + pixels[2 * size :]


@seeds(LABELMAP, "is not the model's answer")
def _change_a_number(found):
    """one voxel of another segment"""
    pixels = np.frombuffer(found.PixelData, np.uint8).copy()
    at = int(np.flatnonzero(pixels == 1)[0])
    pixels[at] = 2
    found.PixelData = pixels.tobytes()


@seeds(LABELMAP, "is not the model's answer")
def _swap_numbers(found):
    """left and right swapped in the pixels"""
    pixels = np.frombuffer(found.PixelData, np.uint8)
    table = np.arange(256, dtype=np.uint8)
    table[[1, 2]] = 2, 1
    found.PixelData = table[pixels].tobytes()


@seeds(LABELMAP, "is not the model's answer")
def _swap_frames(found):
    """the pixels of two frames swapped"""
    size = found.Rows * found.Columns
    pixels = bytes(found.PixelData)
    found.PixelData = pixels[size : 2 * size] + pixels[:size] + pixels[2 * size :]


@seeds(LABELMAP, "do not belong together")
def _name_a_segment(found):
    """a frame of a label map that belongs to one segment"""
    item = Dataset()
    item.ReferencedSegmentNumber = 1
    frame_of(found).SegmentIdentificationSequence = [item]


@seeds(LABELMAP, "two frames for the same segment and slice")
def _two_on_a_slice(found):
    """two frames of a label map on one slice"""
    groups = found.PerFrameFunctionalGroupsSequence
    groups[1] = groups[0]


@seeds(LABELMAP, "cannot have 1 bits for each voxel")
def _one_bit(found):
    """one bit for each voxel of a label map"""
    found.BitsAllocated = 1


@seeds(FRACTIONAL, "has not the model's probabilities")
def _change_a_probability(found):
    """one voxel less probable"""
    pixels = np.frombuffer(found.PixelData, np.uint8)
    change_byte(found, int(np.argmax(pixels)), 0x01)


@seeds(FRACTIONAL, "has not the model's probabilities")
def _other_maximum(found):
    """another value that stands for certain"""
    found.MaximumFractionalValue = 100


@seeds(FRACTIONAL, "of what its values are fractions")
def _drop_fraction_type(found):
    """no word on whether it is a probability or an occupancy"""
    del found.SegmentationFractionalType


@seeds(FRACTIONAL, "leaves out frames that are not empty")
def _leave_out_a_frame(found):
    """a frame left out that is not empty"""
    size = found.Rows * found.Columns
    del found.PerFrameFunctionalGroupsSequence[-1]
    found.PixelData = bytes(found.PixelData)[: size * (int(found.NumberOfFrames) - 1)]
    found.NumberOfFrames = int(found.NumberOfFrames) - 1


def first_segment(found: Dataset) -> Dataset:
    """The segment with number 1."""
    item: Dataset = next(one for one in found.SegmentSequence if one.SegmentNumber == 1)
    return item


DEFECTS = tuple(seeds.defects)
