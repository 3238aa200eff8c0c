"""A PACS for the demo and the tests: a real Orthanc where it is installed, else a small one.

Both listen on free loopback ports, keep everything below one folder and end with ``close``.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

_PORTS = (15_000, 32_000)
LOOPBACK = "127.0.0.1"
CHOICE_VARIABLE = "SECONDREAD_DEMO_PACS"
ORTHANC_NAMES = ("Orthanc", "/usr/sbin/Orthanc")
DICOMWEB_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
VERIFICATION_UID = "1.2.840.10008.1.1"
START_TIMEOUT_S = 30.0
HTTP_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Held:
    """One object that a PACS holds."""

    key: str
    modality: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str


class Pacs(Protocol):
    """What the demo and the tests need of a PACS."""

    ae_title: str
    host: str
    port: int
    description: str

    def held(self) -> list[Held]:
        """Everything it holds, in no order."""

    def export(self, folder: Path) -> list[Path]:
        """Write everything it holds as ``<modality>-<number>.dcm``."""

    def close(self) -> None:
        """Stop it; safe to call twice."""


def free_port() -> int:
    """A port that nobody listens on, below those that the system gives to outgoing connections.

    One of those may be somebody's before the server that it is meant for has started.
    """
    while True:
        port = random.randrange(*_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port


def orthanc_program() -> str | None:
    """The Orthanc that is installed, or None."""
    return next(filter(None, map(shutil.which, ORTHANC_NAMES)), None)


def start_pacs(folder: Path, callers: tuple[str, ...]) -> Pacs:
    """Start the best PACS at hand; ``callers`` are the AE titles that may store in it.

    ``SECONDREAD_DEMO_PACS=small`` takes the small one even where Orthanc is installed.
    """
    program = None if os.environ.get(CHOICE_VARIABLE) == "small" else orthanc_program()
    return OrthancPacs(program, folder, callers) if program else SmallPacs(folder, callers)


class OrthancPacs:
    """An Orthanc server with a configuration and a storage folder of its own.

    With ``dicomweb`` it answers at ``/dicom-web/``, too, by its plugin.

    Raises:
        RuntimeError: it did not answer within ``START_TIMEOUT_S``.
    """

    host = LOOPBACK

    def __init__(
        self,
        program: str,
        folder: Path,
        callers: tuple[str, ...],
        *,
        ae_title: str = "DEMOPACS",
        dicomweb: Path | None = None,
    ) -> None:
        self.ae_title = ae_title
        self._dicomweb = dicomweb
        self.port, self.http_port = free_port(), free_port()
        self.description = f"Orthanc ({program})"
        folder.mkdir(parents=True, exist_ok=True)
        self.log_path = folder / "orthanc.log"
        configuration = folder / "orthanc.json"
        configuration.write_text(json.dumps(self._configuration(folder, callers), indent=2))
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [program, str(configuration)],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                # Without it every answer of DCMTK waits for a delayed acknowledgement.
                env={**os.environ, "TCP_NODELAY": "1"},
                # In a session of its own: Ctrl-C reaches the demo alone, which stops it in order.
                start_new_session=True,
            )
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def _configuration(self, folder: Path, callers: tuple[str, ...]) -> dict[str, Any]:
        return {
            "Name": "SecondRead demo PACS",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomAet": self.ae_title,
            "DicomPort": self.port,
            "DicomCheckCalledAet": True,
            "DicomCheckModalityHost": True,
            "DicomAlwaysAllowStore": False,
            "UnknownSopClassAccepted": True,
            # The port of a modality matters only when Orthanc calls it, which it never does here.
            "DicomModalities": {title: [title, LOOPBACK, 104] for title in callers},
            "OverwriteInstances": False,
            "StableAge": 2,
            "Plugins": [str(self._dicomweb)] if self._dicomweb else [],
            "DicomWeb": {
                "Enable": self._dicomweb is not None,
                "Root": "/dicom-web/",
                "StudiesMetadata": "Full",
                "SeriesMetadata": "Full",
            },
        }

    def _wait(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"Orthanc ended at once; its log is {self.log_path}.")
            with suppress(OSError):
                self._get("/system")
                return
            time.sleep(0.05)
        raise RuntimeError(
            f"Orthanc did not answer within {START_TIMEOUT_S:.0f} s; its log is {self.log_path}."
        )

    def _get(self, path: str) -> bytes:
        # Without a proxy: this address is this machine's own.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(
            f"http://{LOOPBACK}:{self.http_port}{path}", timeout=HTTP_TIMEOUT_S
        ) as answer:
            content: bytes = answer.read()
            return content

    def held(self) -> list[Held]:
        """Everything it holds, asked over its REST interface."""
        found = []
        for series in json.loads(self._get("/series?expand")):
            study = json.loads(self._get(f"/series/{series['ID']}/study"))
            for instance in json.loads(self._get(f"/series/{series['ID']}/instances")):
                found.append(
                    Held(
                        instance["ID"],
                        series["MainDicomTags"].get("Modality", ""),
                        instance["MainDicomTags"]["SOPInstanceUID"],
                        series["MainDicomTags"]["SeriesInstanceUID"],
                        study["MainDicomTags"]["StudyInstanceUID"],
                    )
                )
        return found

    def export(self, folder: Path) -> list[Path]:
        """Write everything it holds as ``<modality>-<number>.dcm``."""
        contents = [self._get(f"/instances/{held.key}/file") for held in self.held()]
        return _write_numbered(contents, folder)

    def close(self) -> None:
        """Stop the server and wait until it has ended."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


class SmallPacs:
    """A storage SCP in a thread of this process: it keeps files and answers C-ECHO, no more."""

    host = LOOPBACK
    description = "a small storage SCP of the demo's own (Orthanc is not installed or not wanted)"

    def __init__(
        self, folder: Path, callers: tuple[str, ...], *, ae_title: str = "DEMOPACS"
    ) -> None:
        from pydicom.uid import AllTransferSyntaxes
        from pynetdicom import AE, AllStoragePresentationContexts, evt

        self.ae_title = ae_title
        self._folder = folder / "storage"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._held: dict[str, Held] = {}
        self._lock = threading.Lock()
        entity = AE(ae_title=ae_title)
        entity.require_called_aet = True
        entity.require_calling_aet = list(callers)
        for context in AllStoragePresentationContexts:
            entity.add_supported_context(str(context.abstract_syntax), list(AllTransferSyntaxes))
        entity.add_supported_context(VERIFICATION_UID)
        handlers: Any = [(evt.EVT_C_STORE, self._store)]
        server: Any = entity.start_server((LOOPBACK, 0), block=False, evt_handlers=handlers)
        self._server = server
        self.port = int(self._server.server_address[1])

    def _store(self, event: Any) -> int:
        dataset = event.dataset
        uid = str(event.request.AffectedSOPInstanceUID)
        dataset.file_meta = event.file_meta
        partial = self._folder / f"{uid}.part"
        dataset.save_as(partial, enforce_file_format=True)
        partial.rename(self._folder / f"{uid}.dcm")
        with self._lock:
            self._held[uid] = Held(
                uid,
                str(dataset.get("Modality", "")),
                uid,
                str(dataset.SeriesInstanceUID),
                str(dataset.StudyInstanceUID),
            )
        return 0x0000

    def held(self) -> list[Held]:
        """Everything it holds."""
        with self._lock:
            return list(self._held.values())

    def export(self, folder: Path) -> list[Path]:
        """Write everything it holds as ``<modality>-<number>.dcm``."""
        contents = [(self._folder / f"{held.key}.dcm").read_bytes() for held in self.held()]
        return _write_numbered(contents, folder)

    def close(self) -> None:
        """Stop listening."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()


def _write_numbered(contents: list[bytes], folder: Path) -> list[Path]:
    """Write DICOM files under names that sort by modality, series and instance number."""
    from io import BytesIO

    from pydicom import dcmread

    tags = ["Modality", "SeriesNumber", "SeriesInstanceUID", "InstanceNumber"]
    named = []
    for content in contents:
        header = dcmread(BytesIO(content), specific_tags=tags, stop_before_pixels=True)
        order = (
            str(header.get("Modality", "OT")),
            int(header.get("SeriesNumber") or 0),
            str(header.get("SeriesInstanceUID", "")),
            int(header.get("InstanceNumber") or 0),
        )
        named.append((order, content))
    named.sort(key=lambda pair: pair[0])
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    counts: dict[str, int] = {}
    for (modality, *_), content in named:
        counts[modality] = counts.get(modality, 0) + 1
        path = folder / f"{modality}-{counts[modality]:04d}.dcm"
        path.write_bytes(content)
        paths.append(path)
    return paths
