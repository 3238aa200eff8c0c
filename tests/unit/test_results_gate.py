"""Defects that no validator sees, seeded one by one; each must be stopped with its own sentence."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from jpeg_ls import decode_from_buffer, encode_array
from pydicom.encaps import encapsulate, generate_frames

from secondread.domain.form import Compression, Form, SegmentationKind
from secondread.errors import GateError
from secondread.results.analysis import Analysis
from secondread.results.gate import check, check_refusal
from secondread.results.write import make_documents, write_results
from tests.defects import DEFECTS
from tests.defects.table import DOCUMENT, insert
from tests.gate_cases import FORMS, REASON, make_job
from tests.result_cases import make_case

PLACES = {
    "BINARY": ("BINARY", "seg"),
    "LABELMAP": ("LABELMAP", "seg"),
    "FRACTIONAL": ("FRACTIONAL", "seg"),
    "report": ("BINARY", "sr"),
    "key objects": ("all", "ko"),
    "presentation state": ("all", "pr"),
    "capture": ("capture", "sc"),
    "summary": ("all", "summary"),
    "PDF": ("all", "pdf"),
    "parametric map": ("all", "pm"),
    "structure set": ("all", "rtstruct"),
}
SEEDED = [(kind, defect) for defect in DEFECTS for kind in defect.kinds]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """``written(name)`` is the job's results in one form; the refusal under the name 'refusal'."""
    folder = tmp_path_factory.mktemp("gate")
    job = make_job(folder / "series")
    ready = {}

    def find(name):
        if name not in ready:
            if name == "refusal":
                ready[name] = job.refuse(folder / name)
            else:
                ready[name] = job.write(FORMS[name], folder / name)
        return ready[name]

    return find


def document_of(result, name):
    return next(one for one in result.made.documents if one.name == name)


@pytest.mark.parametrize(
    ("kind", "defect"), SEEDED, ids=[f"{kind}-{one.seed.__name__}" for kind, one in SEEDED]
)
def test_a_seeded_defect_is_stopped_with_its_sentence(written, tmp_path, kind, defect):
    broken = tmp_path / "broken.dcm"
    sentence = "|".join(re.escape(part) for part in defect.sentence.split("|"))
    if kind == "refusal":
        context, path = written("refusal")
        found = pydicom.dcmread(path)
        defect.seed(found)
        found.save_as(broken)
        with pytest.raises(GateError, match=sentence):
            check_refusal(broken, context, REASON)
        return
    form, name = PLACES[kind]
    result = written(form)
    found = pydicom.dcmread(result.paths[name])
    defect.seed(found)
    found.save_as(broken)
    with pytest.raises(GateError, match=sentence) as refusal:
        check(broken, result.context, result.analysis, result.made, document_of(result, name))
    assert "SOMEBODY" not in str(refusal.value)
    assert "Example" not in str(refusal.value)


@pytest.mark.parametrize("kind", PLACES)
def test_what_is_sound_gets_through(written, kind):
    form, name = PLACES[kind]
    result = written(form)
    document = document_of(result, name)
    check(result.paths[name], result.context, result.analysis, result.made, document)


def test_the_table_in_the_documentation_is_that_of_the_defects():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert insert(text) == text, "run: python -m tests.defects"


@pytest.mark.parametrize(
    "form",
    [
        Form(segmentation=kind, compression=compression, empty_frames=empty, one_segment_each=each)
        for kind, compression, empty, each in (
            (SegmentationKind.BINARY, Compression.NONE, True, False),
            (SegmentationKind.BINARY, Compression.DEFLATED, False, True),
            (SegmentationKind.LABELMAP, Compression.RLE, False, False),
            (SegmentationKind.LABELMAP, Compression.DEFLATED, True, True),
            (SegmentationKind.LABELMAP, Compression.JPEG_LS, False, False),
            (SegmentationKind.LABELMAP, Compression.JPEG_2000, False, False),
            (SegmentationKind.FRACTIONAL, Compression.RLE, False, True),
            (SegmentationKind.FRACTIONAL, Compression.NONE, True, False),
            (SegmentationKind.NONE, Compression.NONE, False, False),
        )
    ],
    ids=str,
)
def test_the_gate_compares_with_the_answer_and_not_with_itself(tmp_path, form):
    case = make_case(tmp_path / "series", "oblique", (5, 40, 48))
    context = replace(case.context, form=form)
    analysis = Analysis(case.labels)
    results = write_results(context, analysis, tmp_path)
    if form.segmentation is SegmentationKind.NONE:
        assert [one.kind for one in results] == ["sr"]
        return
    made = make_documents(context, analysis)
    other = Analysis(np.roll(case.labels, 1, axis=2))
    with pytest.raises(GateError, match=r"is not the model's answer|not the model's probabilities"):
        check(tmp_path / results[0].path, context, other, made, made.documents[0])


@pytest.mark.parametrize("columns", [21, 24, 64])
@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal", "oblique"])
def test_one_wrong_bit_is_found_wherever_frames_begin(tmp_path, plane, columns):
    case = make_case(tmp_path / "series", plane, (7, 15, columns))
    analysis = Analysis(case.labels)
    (seg, *_) = write_results(case.context, analysis, tmp_path)
    made = make_documents(case.context, analysis)
    found = pydicom.dcmread(tmp_path / seg.path)
    bits = int(found.NumberOfFrames) * 15 * columns
    for bit in np.random.default_rng(columns).integers(0, bits, 8).tolist():
        pixels = bytearray(found.PixelData)
        pixels[bit // 8] ^= 1 << bit % 8
        broken = pydicom.dcmread(tmp_path / seg.path)
        broken.PixelData = bytes(pixels)
        broken.save_as(tmp_path / "broken.dcm")
        with pytest.raises(GateError, match="is not the model's answer"):
            check(tmp_path / "broken.dcm", case.context, analysis, made, made.documents[0])


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("a voxel", "is not the model's answer"),
        ("a column too few", "cannot be read back: a value is not what its representation says"),
        ("its end cut off", "cannot be read back: something compressed in it cannot be unpacked"),
        ("no such frame", "cannot be read back: a value is not what its representation says"),
    ],
)
def test_what_is_wrong_with_a_frame_in_jpeg_ls_is_found(tmp_path, wrong, sentence):
    case = make_case(tmp_path / "series", "axial", (5, 40, 48))
    form = Form(segmentation=SegmentationKind.LABELMAP, compression=Compression.JPEG_LS)
    context, analysis = replace(case.context, form=form), Analysis(case.labels)
    (seg, *_) = write_results(context, analysis, tmp_path)
    made = make_documents(context, analysis)
    found = pydicom.dcmread(tmp_path / seg.path)
    first, *others = generate_frames(found.PixelData, number_of_frames=found.NumberOfFrames)
    plane = np.frombuffer(decode_from_buffer(first), np.uint8).reshape(40, 48).copy()
    if wrong == "a voxel":
        plane[7, 9] += 1
    frames = {
        "a voxel": [bytes(encode_array(plane)), *others],
        "a column too few": [bytes(encode_array(plane[:, :47].copy())), *others],
        "its end cut off": [first[: len(first) // 2], *others],
        "no such frame": [first, *others[:-1]],
    }[wrong]
    found.PixelData = encapsulate([frame + b"\0" * (len(frame) % 2) for frame in frames])
    found.save_as(tmp_path / "broken.dcm")
    with pytest.raises(GateError, match=sentence):
        check(tmp_path / "broken.dcm", context, analysis, made, made.documents[0])


@pytest.mark.parametrize("code", ["type", "category"])
def test_a_model_with_an_invented_code_does_not_get_through(tmp_path, code):
    case = make_case(tmp_path / "series")
    first, *others = case.context.manifest.labels
    wrong = replace(getattr(first, code), value="123456789", meaning="Nothing")
    manifest = replace(case.context.manifest, labels=(replace(first, **{code: wrong}), *others))
    with pytest.raises(GateError, match="context groups lists|CID 7150"):
        write_results(replace(case.context, manifest=manifest), Analysis(case.labels), tmp_path)
