"""``make demo``: a scanner, the node and a PACS on this machine, from the images to the report.

The scanner sends to the node and to the PACS, as a hospital's does. Everything ends up in
``out/demo``; every process that was started is stopped again, whatever happens.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from deploy.demo.head import find_head
from deploy.demo.node import AE_TITLE, SCANNER_TITLE, DemoNode, NodeError, send_command
from deploy.demo.pacs import LOOPBACK, Pacs, start_pacs
from deploy.demo.progress import Progress, look, stages, timeline
from deploy.demo.show import show

MARKER = ".secondread-demo"
POLL_S = 0.2
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


def main() -> int:
    """Run the demo; the exit code is 0 when the PACS holds what the node promised."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--study", type=Path, help="a folder with DICOM files to send instead")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="where results go")
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds to wait for results")
    options = parser.parse_args()
    # As Ctrl-C does: what was started is stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_TERMINATED))
    try:
        return run(options.out.resolve(), options.study, options.timeout)
    except (NodeError, RuntimeError, OSError) as error:
        print(f"The demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("The demo was stopped.", file=sys.stderr)
        return EXIT_INTERRUPTED


def run(out: Path, study: Path | None, timeout_s: float) -> int:
    """The demo, step by step."""
    _clear(out)
    folder = study or _acquire(out / "scanner")
    if not folder.is_dir():
        raise OSError(f"'{folder}' is not a folder; give STUDY=/path/to/a/DICOM/folder.")
    with ExitStack() as running:
        pacs = running.enter_context(
            closing(start_pacs(out / "pacs-server", (AE_TITLE, SCANNER_TITLE)))
        )
        print(f"PACS      {pacs.description}, '{pacs.ae_title}' on port {pacs.port}")
        node = running.enter_context(closing(DemoNode(out / "node", pacs)))
        print(f"Node      SecondRead, '{AE_TITLE}' on port {node.port}; log {node.log_path}")
        print(f"Scanner   '{SCANNER_TITLE}' sends to the node, then to the PACS")
        _send(folder, node)
        archive = running.enter_context(_sending_to_pacs(folder, pacs, out))
        progress = _wait(node, timeout_s)
        if archive.wait(timeout_s) != 0:
            print(f"The PACS did not take all images; see {out / 'scanner-to-pacs.log'}.")
        files = pacs.export(out / "pacs")
        written = _write_timeline(node, out)
    shown = show(files, out)
    code = _report(out, progress, shown, written)
    if study is not None:
        print(f"{out} holds your study with everything that is in it; remove it when you are done.")
    return code


def _clear(out: Path) -> None:
    """Empty the folder of an earlier demo; never one that the demo did not make."""
    if out.exists() and any(out.iterdir()) and not (out / MARKER).is_file():
        raise OSError(f"'{out}' holds other files; name an empty folder with --out.")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / MARKER).touch()


def _acquire(folder: Path) -> Path:
    head = find_head()
    paths = head.write(folder)
    print(f"Patient   {head.origin}: {len(paths)} sagittal slices")
    return folder


@contextmanager
def _sending_to_pacs(folder: Path, pacs: Pacs, out: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (out / "scanner-to-pacs.log").open("wb") as log:
        sender = subprocess.Popen(
            send_command(folder, pacs.ae_title, pacs.host, pacs.port),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield sender
    finally:
        if sender.poll() is None:
            sender.terminate()
            sender.wait()


def _send(folder: Path, node: DemoNode) -> None:
    sent = subprocess.run(
        send_command(folder, AE_TITLE, LOOPBACK, node.port), check=False
    ).returncode
    if sent != 0:
        print("The node did not take every object; the lines above say why. Going on.")


def _wait(node: DemoNode, timeout_s: float) -> Progress:
    """Wait until every study has ended, and tell what is going on."""
    from rich.console import Console

    from secondread.store import Ledger

    ledger = Ledger.open(node.data_dir)
    deadline = time.monotonic() + timeout_s
    last = ""
    try:
        console = Console(stderr=True)
        with console.status("waiting") as status:
            while time.monotonic() < deadline:
                progress = look(ledger)
                if progress.ended:
                    return progress
                if progress.sentence != last:
                    last = progress.sentence
                    status.update(f"Node      {last}")
                    if not console.is_terminal:
                        print(f"Node      {last}", flush=True)
                node.check()
                time.sleep(POLL_S)
    finally:
        ledger.close()
    raise NodeError(
        f"No result after {timeout_s:.0f} s; the node was last seen '{last}'. "
        f"Its log is {node.log_path}; for more: secondread study list --config {node.config_path}"
    )


def _write_timeline(node: DemoNode, out: Path) -> str:
    from secondread.store import Ledger

    ledger = Ledger.open(node.data_dir)
    try:
        studies = [study for study, _ in look(ledger).studies]
        with ledger.read() as view:
            found = [(study, stages(study, view.trail.of_study(study.id))) for study in studies]
    finally:
        ledger.close()
    text = timeline(found)
    (out / "timeline.txt").write_text(text, encoding="utf-8")
    return text


def _report(out: Path, progress: Progress, shown: list[Path], written: str) -> int:
    print()
    print(written)
    print(f"What the PACS holds now, and what it looks like, is in {out}:")
    for path in (out / "pacs", *shown, out / "timeline.txt"):
        print(f"  {path.relative_to(out)}{'/*.dcm' if path.is_dir() else ''}")
    held = [study for study, _ in progress.studies if study.state == "held"]
    for study in held:
        print(f"A study waits for a person: {study.reason}", file=sys.stderr)
    return 1 if held else 0


if __name__ == "__main__":
    sys.exit(main())
