"""``secondread doctor``: tries everything that must work, and says what to do where it does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from secondread.cli.options import ConfigOption, JsonOption
from secondread.errors import EXIT_FAILED

if TYPE_CHECKING:
    from secondread.cli.probes.finding import Finding
    from secondread.config.settings import Settings


def doctor(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Try ports, disk, clock, permissions, models and neighbours; a line and a remedy for each."""
    from secondread.cli.output import print_json, print_line, print_table
    from secondread.cli.probes.finding import Health
    from secondread.config.load import load

    findings = tuple(examine(load(config)))
    counts = {health: sum(f.health is health for f in findings) for health in Health}
    if as_json:
        print_json({"ok": not counts[Health.FAIL], "counts": counts, "findings": findings})
    else:
        rows: list[tuple[str, str, str]] = []
        for finding in findings:
            rows.append((finding.health, finding.subject, finding.sentence))
            if finding.remedy:
                rows.append(("", "", f"→ {finding.remedy}"))
        print_table(("", "", ""), rows)
        print_line(", ".join(f"{count} {health}" for health, count in counts.items()) + ".")
    if counts[Health.FAIL]:
        raise typer.Exit(EXIT_FAILED)


def examine(settings: Settings) -> Iterator[Finding]:
    """All findings about a node, in the order in which they are best repaired."""
    from secondread.cli.probes import (
        clock,
        containment,
        disk,
        disk_pressure,
        models,
        neighbours,
        port,
        tls,
    )
    from secondread.cli.probes.finding import warning, well
    from secondread.config.checks import remarks

    yield well("configuration", f"'{settings.path}' is sound.")
    for remark in remarks(settings):
        yield warning("configuration", remark.sentence, remark.remedy)
    yield from disk.probe_disk(settings)
    yield from disk_pressure.probe_disk_pressure(settings)
    yield from clock.probe_clock(settings)
    for number in filter(None, (settings.port, settings.tls.port)):
        yield port.probe_port(replace(settings, port=number))
    yield from tls.probe_tls(settings)
    yield from models.probe_models(settings)
    yield containment.probe_containment(settings.device)
    yield from neighbours.probe_neighbours(settings)
