"""[destinations.results]: what becomes of it, and what is wrong in which words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from secondread.config import results
from secondread.config.checks import remarks
from secondread.config.explain import explain
from secondread.config.load import examine, load
from secondread.config.results import DestinationResults
from secondread.domain.form import (
    COMPRESSIONS,
    Compression,
    Form,
    Language,
    Overlay,
    SegmentationKind,
)

ROW = """\
[[destinations]]
name = "pacs"
ae_title = "PACS"
host = "pacs"
port = 104
"""
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "secondread.toml"
        path.write_text(f"{ROW}\n[destinations.results]\n{text}\n")
        return path

    return write


def form(path: Path) -> Form:
    (destination,) = load(path, {}).destinations
    return destination.form


def test_a_destination_that_says_nothing_gets_the_usual_form(tmp_path: Path) -> None:
    path = tmp_path / "secondread.toml"
    path.write_text(ROW)
    assert form(path) == Form()
    assert form(path).mark == ""


def test_every_key_reaches_the_form(write: Write) -> None:
    found = form(
        write(
            'segmentation = "labelmap"\nfallback = ["binary", "none"]\ncompression = "jpeg-ls"\n'
            "empty_frames = true\none_segment_each = true\nkey_objects = true\n"
            'overlay = "secondary-capture"\nsummary = true\npdf = true\nparametric_maps = false\n'
            'structure_set = true\nlanguage = "zh"'
        )
    )
    assert found == Form(
        segmentation=SegmentationKind.LABELMAP,
        fallback=(SegmentationKind.BINARY, SegmentationKind.NONE),
        compression=Compression.JPEG_LS,
        empty_frames=True,
        one_segment_each=True,
        key_objects=True,
        overlay=Overlay.SECONDARY_CAPTURE,
        summary=True,
        pdf=True,
        parametric_maps=False,
        structure_set=True,
        language=Language.CHINESE,
    )


def test_the_keys_and_their_values_are_those_of_the_form() -> None:
    assert set(DestinationResults.model_fields) == set(Form.__dataclass_fields__)
    for kind, written in (
        (SegmentationKind, results._Segmentation),
        (Compression, results._Compression),
        (Overlay, results._Overlay),
        (Language, results._Language),
    ):
        assert get_args(written) == tuple(one.value for one in kind)


def test_no_segmentation_needs_no_fallback(write: Write) -> None:
    assert form(write('segmentation = "none"')).levels() == (
        Form(fallback=()).without_segmentation(),
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('segmentation = "seg"', "'segmentation' in [destinations.results] of 'pacs' must be"),
        ("segments = true", "Unknown key 'segments' in [destinations.results] of 'pacs'; did you"),
        ('fallback = "none"', "must be a list, in [ ]"),
        ('fallback = ["binary", "none"]', "names 'binary', which is what was refused"),
        ('fallback = ["labelmap", "labelmap"]', "names 'labelmap' twice"),
        ('fallback = ["none", "labelmap"]', "nothing can come after 'none'"),
        (
            'segmentation = "none"\nfallback = ["binary"]',
            "so there is nothing that could be refused",
        ),
        (
            'compression = "jpeg-ls"',
            "[destinations.results] of 'pacs': a segmentation of kind 'binary' cannot be encoded as"
            " 'jpeg-ls'; it can be 'deflated', 'none'.",
        ),
    ],
)
def test_each_mistake_has_its_sentence_and_line(write: Write, text: str, sentence: str) -> None:
    faults = [str(fault) for fault in examine(write(text), {}).faults]
    assert len(faults) == 1
    assert sentence in faults[0]
    assert faults[0].startswith(f"line {7 + len(text.splitlines())}: ")


def test_what_means_nothing_without_a_segmentation_is_remarked(write: Write) -> None:
    path = write('segmentation = "none"\nempty_frames = true\ncompression = "rle"')
    said = " ".join(one.sentence for one in remarks(load(path, {})))
    assert "compression and empty_frames in [destinations.results] of 'pacs' mean nothing" in said


def test_every_value_tells_its_origin(write: Write) -> None:
    path = write('segmentation = "labelmap"')
    _, values = explain(path)
    told = {one.key: (one.value, one.origin) for one in values}
    prefix = "destinations.pacs.results"
    assert told[f"{prefix}.segmentation"] == ("labelmap", "secondread.toml:8")
    assert told[f"{prefix}.fallback"] == (["none"], "default")


def test_what_is_compressed_goes_uncompressed_before_another_kind_goes() -> None:
    wanted = Form(
        segmentation=SegmentationKind.LABELMAP,
        fallback=(SegmentationKind.BINARY, SegmentationKind.NONE),
        compression=Compression.RLE,
        empty_frames=True,
        summary=True,
    )
    said = [
        (one.segmentation, one.compression, one.empty_frames, one.summary)
        for one in wanted.levels()
    ]
    assert said == [
        (SegmentationKind.LABELMAP, Compression.RLE, True, True),
        (SegmentationKind.LABELMAP, Compression.NONE, True, True),
        (SegmentationKind.BINARY, Compression.NONE, True, True),
        (SegmentationKind.NONE, Compression.NONE, False, True),
    ]
    assert len({one.mark for one in wanted.levels()}) == 4


def test_every_kind_can_go_uncompressed() -> None:
    assert set(COMPRESSIONS) == set(SegmentationKind)
    assert all(Compression.NONE in possible for possible in COMPRESSIONS.values())
