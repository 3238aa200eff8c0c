"""What contains a model, measure by measure, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from secondread.cli.probes.containment import probe_containment
from secondread.cli.probes.finding import Health
from secondread.inference.containment.bubblewrap import Bubblewrap
from secondread.inference.containment.entry import MODULE, Order, decode
from secondread.inference.containment.launch import Launch, environment, python_files
from secondread.inference.containment.limits import MIB, Limits, limits_of
from secondread.inference.containment.survey import Containment, Strength, survey
from tests.containing import WAYS, contained_by

BWRAP = Bubblewrap("/usr/bin/bwrap", (0, 8, 0))


def run(order: Order, script: Path) -> subprocess.CompletedProcess[str]:
    """A script behind the measures of an order."""
    command = [sys.executable, "-I", "-m", MODULE, order.encode(), str(script)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """Says by its exit status what the program in its second line may do."""
    return tmp_path / "script.py"


def test_an_order_comes_through_the_command_line() -> None:
    order = Order(("landlock",), ("/usr",), ("/tmp",), Limits(1, 2, 3, 4, 5), True, False, True)
    assert decode(order.encode()) == order


@pytest.mark.parametrize(
    ("containment", "strength", "remedy"),
    [
        (Containment(BWRAP, ("landlock", "seccomp")), Strength.COMPLETE, ""),
        (Containment(BWRAP, ("landlock",)), Strength.CLOSED, "seccomp"),
        (Containment(None, ("namespaces", "landlock", "seccomp")), Strength.CLOSED, "bubblewrap"),
        (Containment(None, ("landlock", "seccomp"), "denied"), Strength.CLOSED, "denied"),
        (Containment(None, ("seccomp",)), Strength.PARTIAL, "bubblewrap"),
        (Containment(), Strength.BARE, "bubblewrap"),
    ],
)
def test_strength_is_named_with_its_remedy(
    containment: Containment, strength: Strength, remedy: str
) -> None:
    assert containment.strength is strength
    assert remedy in containment.remedy
    finding = probe_containment(found=containment)
    assert finding.health is (Health.WARN if remedy else Health.OK)
    assert (finding.sentence, finding.remedy) == (containment.sentence, containment.remedy)
    assert "{" not in finding.sentence


def test_the_survey_takes_what_works() -> None:
    found = survey()
    assert found.bubblewrap is None or found.strength is Strength.COMPLETE
    assert survey(allow_bubblewrap=False).bubblewrap is None


@pytest.mark.parametrize("way", WAYS)
def test_a_contained_process_sees_python_and_what_it_is_shown(way: str, tmp_path: Path) -> None:
    shown, hidden = tmp_path / "shown", tmp_path / "hidden"
    for folder in (shown, hidden):
        folder.mkdir()
        (folder / "file").write_text("words")
    script = shown / "look.py"
    script.write_text(
        "import json, sys, numpy\n"
        "def may(path, mode):\n"
        "    try: open(path, mode).close()\n"
        "    except OSError: return False\n"
        "    return True\n"
        "seen = [may(sys.argv[1], 'r'), may(sys.argv[1], 'a'), may(sys.argv[2], 'r')]\n"
        "seen += [may('/etc/passwd', 'r'), may('/proc/1/environ', 'r')]\n"
        "print(json.dumps(seen))\n"
    )
    program = (str(script), str(shown / "file"), str(hidden / "file"))
    command = contained_by(way).command(Launch(program, (str(shown),)))
    done = subprocess.run(
        command, env=environment(1), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [True, False, False, False, False]


def test_onnx_runtime_starts_nothing_that_would_report_to_its_maker() -> None:
    """Where it does, a thread of its own asks for a connection, for which a worker is ended."""
    model = Path(__file__).resolve().parents[2] / "models" / "dementia_mr" / "tree.onnx"
    program = (
        "import os, sys, onnxruntime\n"
        "options = onnxruntime.SessionOptions()\n"
        "options.intra_op_num_threads = options.inter_op_num_threads = 1\n"
        "onnxruntime.InferenceSession(sys.argv[1], options, providers=['CPUExecutionProvider'])\n"
        "print(len(os.listdir('/proc/self/task')))\n"
    )
    command = [sys.executable, "-c", program, str(model)]
    done = subprocess.run(command, env=environment(1), capture_output=True, text=True, check=True)
    assert int(done.stdout) == 1


def test_a_measure_that_fails_ends_it_all(script: Path) -> None:
    script.write_text("print('ran')")
    order = Order(measures=("landlock", "seccomp"), readable=("/",))
    assert run(order, script).stdout == "ran\n"
    # Behind a filter there is no second one that asks for namespaces.
    script.write_text(
        "from secondread.inference.containment.entry import Order, contain\n"
        "contain(Order(measures=('namespaces',)))\n"
        "print('ran')\n"
    )
    done = run(replace(order, fatal=False), script)
    assert (done.returncode, done.stdout) == (1, "")
    assert "PermissionError" in done.stderr


def test_limits_bite(script: Path, tmp_path: Path) -> None:
    script.write_text(
        "import errno, sys\n"
        "try: bytearray(600 * 2**20)\n"
        "except MemoryError: print('memory')\n"
        "try:\n"
        f"    with open({str(tmp_path / 'long')!r}, 'wb') as file: file.write(bytes(3 * 2**20))\n"
        "except OSError as error: print(errno.errorcode[error.errno])\n"
        "try: held = [open('/dev/null') for _ in range(100)]\n"
        "except OSError as error: print(errno.errorcode[error.errno])\n"
    )
    done = run(Order(limits=Limits(512 * MIB, MIB, 50)), script)
    assert done.stdout.split() == ["memory", "EFBIG", "EMFILE"], done.stderr
    assert (tmp_path / "long").stat().st_size <= MIB


def test_what_a_manifest_declares_is_the_limit() -> None:
    small, large = limits_of(512, 2, "cpu"), limits_of(4096, 2, "cpu")
    assert large.address_bytes - small.address_bytes == (4096 - 512) * MIB
    # A driver of a card reserves more addresses than any model needs memory.
    assert limits_of(512, 2, "cuda:0").address_bytes == 0


def test_a_card_goes_with_its_devices() -> None:
    command = BWRAP.command(["/opt/python"], "cuda")
    assert "--proc" in command
    assert "--proc" not in BWRAP.command(["/opt/python"], "cpu")
    assert "--size" not in Bubblewrap("bwrap", (0, 4, 1)).command([], "cpu")


def test_nothing_but_software_is_shown() -> None:
    files = [Path(path) for path in python_files()]
    assert all(path.exists() for path in files)
    assert not any(a != b and a.is_relative_to(b) for a in files for b in files)
    assert Path("/") not in files and Path("/usr") not in files
    assert Path.home() not in files
