"""Other people's validators, run on our objects, minus what is known to be no fault of theirs.

``python -m conformance.validators seg.dcm sr.dcm --source FOLDER`` prints what is left. A tool that
is not installed is named with the package that brings it; it never passes silently.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

TIMEOUT_S = 300.0
_JAVA_FOLDER = Path("/usr/share/java")
_JAVA_ARCHIVES = MappingProxyType(
    {"pixelmed.jar": "libpixelmed-java", "Saxon-HE.jar": "libsaxonhe-java"}
)


class ToolAbsentError(Exception):
    """A validator is not installed."""

    def __init__(self, program: str, package: str) -> None:
        super().__init__(f"no {program}: install the package {package}")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a validator about one file; severity is ``error`` or ``warning``."""

    tool: str
    severity: str
    message: str


@dataclass(frozen=True, slots=True)
class Quirk:
    """A line that is expected, and why it does not count."""

    tool: str
    pattern: str
    reason: str


KNOWN_QUIRKS = (
    Quirk(
        "dciodvfy",
        r"ContributingEquipmentSequence.*DeviceUID.*not present in standard DICOM IOD",
        "IHE AI Results asks for the Device UID of the algorithm; the tool's table of the module "
        "is older than the attribute.",
    ),
    Quirk(
        "dciodvfy",
        r"Value dubious for this VR \[PN\].*Retired Person Name form",
        "A name without a caret is the source's own and is copied unchanged.",
    ),
    Quirk(
        "dciodvfy",
        r"CodingSchemeDesignator\(0008,0102\)\[1\]> - Unrecognized defined term = <99SECONDREAD>",
        "A scheme of our own, as PS3.3 8.2 allows; the object says whose it is in its Coding "
        "Scheme Identification Sequence.",
    ),
    Quirk(
        "dsrdump",
        r"(image SOP class referenced from IMAGE content item|content item IMAGE( \"[\d.]+\")?"
        r"( \(Invalid Value\))?)$",
        "Debian's DCMTK of 2022 does not know Label Map Segmentation Storage, and so skips the "
        "reference to a segment of one.",
    ),
    *(
        Quirk(
            tool,
            r"The VR checker does not support this Specific Character Set",
            "DCMTK checks no values in UTF-8, GB 18030 and some others; it says so and reads them.",
        )
        for tool in ("dsrdump", "tid1500reader", "segimage2itkimage")
    ),
    Quirk(
        "dciodvfy",
        r"ReferencedSegmentNumber.*Shall not be present for Referenced SOP Class that is not segm",
        "The tool knows Label Map Segmentations as objects, and not yet as what a segment number "
        "may point into; that the object is one is checked at the gate.",
    ),
    Quirk(
        "dcentvfy",
        r"Different information entities for attribute - Element=<AccessionNumber>",
        "The tool places Accession Number in the series of a report and in the study of an image; "
        "the values are the same.",
    ),
    Quirk(
        "dciodvfy",
        r"</Laterality\(0020,0060\)> - is only permitted to be empty when actually unknown",
        "It is unknown: the source names neither a side nor a body part that has none.",
    ),
    Quirk(
        "dsrdump",
        r"Check for template constraints not yet supported",
        "What the tool itself cannot do for Key Object Selections (TID 2010).",
    ),
    Quirk(
        "tid1500reader",
        r"Measurement Method modifier is interpreted only at the MeasurementGroup level",
        "The method belongs to the volume, not to the mean beside it; TID 1419 has it there.",
    ),
    Quirk(
        "pixelmed",
        r"Source series for segmentation",
        "The code meaning differs from the tool's in one capital letter; a meaning is for people "
        "(PS3.3 8.3).",
    ),
    Quirk(
        "pixelmed",
        r"/TEXT \((111001|111003),[^/]*: Content Item not in template",
        "TID 1411 takes the algorithm of a group since after the tool's edition of 2022.",
    ),
    Quirk(
        "pixelmed",
        r"has different code meaning \(\"[^\"]*[^\x00-\x7f]",
        "A meaning may be in any language (PS3.3 8.3); the tool knows the English ones.",
    ),
    Quirk(
        "pixelmed",
        r"Template 141[01] \w+/\[Row 1\] CONTAINER \(125007,DCM,\"Measurement Group\"\)/\[Row \d+\]"
        r" (SCOORD|SCOORD3D|IMAGE|UIDREF) .*onditional content item",
        "Once one group of a report follows TID 1410 or TID 1411, the tool holds every group to "
        "it; a group follows one template, which it names. The gate checks the regions.",
    ),
    Quirk(
        "pixelmed",
        r"\[Row \d+\] (NUM|CODE) \*: .*/(NUM \((385524004|371933006)|CODE \(121402),.*Incorrect "
        r"relationship - expected (INFERRED FROM|HAS CONCEPT MOD) - found HAS PROPERTIES",
        "TID 300 and TID 1419 include TID 310, reference range and normality, by HAS PROPERTIES; "
        "the tool takes its items for those of rows whose concept may be any.",
    ),
    Quirk(
        "pixelmed",
        r"CONTAINER \(125007,[^/]*/CODE [^/]*: Content Item not in template",
        "TID 1410, 1411 and 1501 take qualitative evaluations, which the tool's edition lacks.",
    ),
    Quirk(
        "pixelmed",
        r"CONTAINER \(125007,[^/]*/SCOORD3D \(111030,[^/]*: Content Item not in template",
        "TID 1501 row 10e; the tool looks into no TID 1501 where another group has a region.",
    ),
    Quirk(
        "pixelmed",
        r"/(SCOORD \(121055,[^/]*(/IMAGE)?|SCOORD3D \(111010,[^/]*|NUM \(111012,[^/]*|"
        r"COMPOSITE \(122075,[^/]*): "
        r"Content Item not in template",
        "The templates are extensible; docs/reports.md says what is added to them and why.",
    ),
)


def find_program(name: str, package: str) -> str:
    """Path of a program beside the interpreter or on the path; raises ``ToolAbsentError``."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise ToolAbsentError(name, package)
    return found


def run_dciodvfy(path: Path) -> list[Finding]:
    """Attributes, modules and value types against the object's IOD."""
    program = find_program("dciodvfy", "dicom3tools")
    return _judge("dciodvfy", _run([program, "-new", str(path)]))


def run_dcentvfy(sources: Sequence[Path], results: Sequence[Path]) -> list[Finding]:
    """Patient, study and series attributes of results against one another and their sources.

    What the tool says about the sources alone is the scanner's affair and is left out.
    """
    program = find_program("dcentvfy", "dicom3tools")
    findings = _judge("dcentvfy", _run([program, *map(str, (*sources, *results))]))
    return [one for one in findings if any(f"<{path}>" in one.message for path in results)]


def run_dsrdump(path: Path) -> list[Finding]:
    """The content tree of a report, as DCMTK reads it; any line on stderr counts.

    It goes on behind an item that it cannot read, so that one of them hides no other.
    """
    program = find_program("dsrdump", "dcmtk")
    return _judge("dsrdump", _run([program, "-Ec", "-Ei", str(path)]), stdout=False)


def run_segimage2itkimage(path: Path) -> list[Finding]:
    """Every segment of a segmentation as an image, as dcmqi reads it."""
    program = find_program("segimage2itkimage", "dcmqi")
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "--inputDICOM", str(path), "--outputDirectory", folder]
        return _judge("segimage2itkimage", _run([*command, "--outputType", "nii", "--prefix", "s"]))


def run_tid1500reader(path: Path) -> list[Finding]:
    """The measurements of a report, as dcmqi reads them."""
    program = find_program("tid1500reader", "dcmqi")
    with tempfile.TemporaryDirectory() as folder:
        metadata = str(Path(folder) / "report.json")
        command = [program, "--inputDICOM", str(path), "--outputMetadata", metadata]
        return _judge("tid1500reader", _run(command))


def run_pixelmed(path: Path) -> list[Finding]:
    """A report against its IOD and template; it must find TID 1500 at the root.

    Its rules are a stylesheet. Saxon runs it: Java's own engine says the same to the letter, and
    of a report of a hundred groups it takes nine gigabytes, and minutes, to say it.
    """
    for archive, package in _JAVA_ARCHIVES.items():
        if not (_JAVA_FOLDER / archive).is_file():
            raise ToolAbsentError(archive, package)
    java = find_program("java", "default-jre-headless")
    classes = ":".join((str(_JAVA_FOLDER / "pixelmed.jar"), f"{_JAVA_FOLDER}/*"))
    engine = "-Djavax.xml.transform.TransformerFactory=net.sf.saxon.TransformerFactoryImpl"
    command = [java, engine, "-cp", classes, "com.pixelmed.validate.DicomSRValidator", str(path)]
    output = _run(command)
    findings = _judge("pixelmed", output)
    if "IOD validation complete" not in output.stdout:
        findings.append(Finding("pixelmed", "error", "It did not come to the end of the report."))
    if "Found Root Template TID_1500" not in output.stdout + output.stderr:
        findings.append(Finding("pixelmed", "error", "TID 1500 is not recognised at the root."))
    return findings


SEGMENTATION_CHECKS: tuple[Callable[[Path], list[Finding]], ...] = (
    run_dciodvfy,
    run_segimage2itkimage,
)
REPORT_CHECKS: tuple[Callable[[Path], list[Finding]], ...] = (
    run_dciodvfy,
    run_dsrdump,
    run_tid1500reader,
    run_pixelmed,
)


def without_quirks(findings: Iterable[Finding]) -> list[Finding]:
    """What is left when the expected lines are taken away."""
    return [finding for finding in findings if not _is_quirk(finding)]


def _is_quirk(finding: Finding) -> bool:
    return any(
        quirk.tool == finding.tool and re.search(quirk.pattern, finding.message)
        for quirk in KNOWN_QUIRKS
    )


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False
    )


def _judge(
    tool: str, output: subprocess.CompletedProcess[str], *, stdout: bool = True
) -> list[Finding]:
    """Lines that speak of errors or warnings, and the exit code if nothing else does."""
    findings = []
    lines = output.stderr.splitlines() + (output.stdout.splitlines() if stdout else [])
    for line in lines:
        if re.match(r"\s*(error|fatal|abort|exception|E:|F:)", line, re.IGNORECASE):
            findings.append(Finding(tool, "error", line.strip()))
        elif re.match(r"\s*(warning|W:)", line, re.IGNORECASE):
            findings.append(Finding(tool, "warning", line.strip()))
    # dcentvfy exits 1 for a warning as for an error, so its lines are judged alone.
    if output.returncode != 0 and not findings:
        findings.append(Finding(tool, "error", f"It ended with exit code {output.returncode}."))
    return findings


def main(arguments: Sequence[str] | None = None) -> int:
    """Check files and print what is found; 1 where an error is left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--source", type=Path, help="folder with the source images")
    chosen = parser.parse_args(arguments)
    findings: list[Finding] = []
    for path in chosen.files:
        is_segmentation = "seg" in path.name.lower()
        for check in SEGMENTATION_CHECKS if is_segmentation else REPORT_CHECKS:
            try:
                findings += check(path)
            except ToolAbsentError as absent:
                print(f"skipped: {absent}")
    if chosen.source is not None:
        sources = sorted(chosen.source.rglob("*.dcm"))
        findings += run_dcentvfy(sources, chosen.files)
    left = without_quirks(findings)
    for finding in left:
        print(f"{finding.tool}: {finding.severity}: {finding.message}")
    print(f"{len(left)} findings, {len(findings) - len(left)} known quirks")
    return 1 if any(finding.severity == "error" for finding in left) else 0


if __name__ == "__main__":
    sys.exit(main())
