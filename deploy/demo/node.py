"""The demo's node: a configuration of its own and ``secondread serve``, started as a user would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from deploy.demo.pacs import LOOPBACK, Pacs, free_port

AE_TITLE = "SECONDREAD"
SCANNER_TITLE = "DEMOSCANNER"
MODEL = "brain_mr"
QUIET_S = 2.0
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0

CONFIGURATION = """\
# Written by the demo; docs/configuration.md explains every key.
[node]
ae_title = "{title}"
data_dir = {data_dir}
minimum_free_gib = 0.2

[dicom]
host = "{host}"
port = {port}

[log]
format = "console"

[[models]]
id = "{model}"

[[peers]]
name = "scanner"
ae_title = "{scanner}"
addresses = ["{host}"]
quiet_s = {quiet_s}

[[destinations]]
name = "pacs"
ae_title = "{pacs_title}"
host = "{pacs_host}"
port = {pacs_port}

[[rules]]
name = "demo"
model = "{model}"
destinations = ["pacs"]
"""


class NodeError(Exception):
    """The node did not do what the demo waits for; the message says what a person can do."""


class DemoNode:
    """A running node; ``close`` stops it as a service manager would.

    Raises:
        NodeError: it does not answer C-ECHO in time.
    """

    def __init__(self, folder: Path, pacs: Pacs) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.data_dir = folder / "data"
        self.config_path = folder / "secondread.toml"
        self.log_path = folder / "node.log"
        self.config_path.write_text(
            CONFIGURATION.format(
                title=AE_TITLE,
                data_dir=json.dumps(str(self.data_dir)),
                host=LOOPBACK,
                port=self.port,
                model=MODEL,
                scanner=SCANNER_TITLE,
                quiet_s=QUIET_S,
                pacs_title=pacs.ae_title,
                pacs_host=pacs.host,
                pacs_port=pacs.port,
            )
        )
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [secondread(), "serve", "--config", str(self.config_path)],
                stdout=log,
                stderr=subprocess.STDOUT,
                # In a session of its own: Ctrl-C reaches the demo alone, which stops it in order.
                start_new_session=True,
            )
        try:
            self._wait_for_echo()
        except BaseException:
            self.close()
            raise

    def _wait_for_echo(self) -> None:
        from secondread.delivery.address import Address
        from secondread.delivery.store_scu import echo

        deadline = time.monotonic() + START_TIMEOUT_S
        answer = "it did not answer"
        while time.monotonic() < deadline:
            self.check()
            found = echo(Address(LOOPBACK, self.port, AE_TITLE, SCANNER_TITLE, timeout_s=5.0))
            if found.ok:
                return
            answer = found.sentence
            time.sleep(0.1)
        raise NodeError(
            f"The node did not answer C-ECHO within {START_TIMEOUT_S:.0f} s ({answer}). "
            f"Its log is {self.log_path}."
        )

    def check(self) -> None:
        """Raise ``NodeError`` if the node has ended."""
        code = self._process.poll()
        if code is not None:
            raise NodeError(f"The node ended by itself (exit code {code}). See {self.log_path}.")

    def close(self) -> None:
        """Stop it and everything it started; safe to call twice."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                # The whole session, so that no worker outlives a supervisor that hangs.
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()


def secondread() -> str:
    """The console script that belongs to this interpreter."""
    return str(Path(sys.executable).parent / "secondread")


def send_command(folder: Path, title: str, host: str, port: int) -> list[str]:
    """The command of the simulated scanner."""
    target = f"{title}@{host}:{port}"
    return [secondread(), "send", str(folder), "--to", target, "--calling", SCANNER_TITLE]
