"""The models: sound packages, and a device to run them on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from secondread.cli.probes.finding import Finding, failure, well
from secondread.config.settings import Settings


def probe_models(settings: Settings, devices: Path = Path("/dev")) -> Iterator[Finding]:
    """Verify every model that is switched on, and look for the card if one is asked for."""
    from secondread.bundles.registry import load_model
    from secondread.errors import ConfigurationError, ManifestError

    for reference in settings.models:
        subject = f"model {reference.id}"
        try:
            manifest = load_model(reference, settings.packages, settings.models)
        except (ConfigurationError, ManifestError) as error:
            yield failure(
                subject, str(error), "Reinstall the model, or correct [[models]] or [packages]."
            )
            continue
        yield well(subject, f"{manifest.version} is sound, {len(manifest.labels)} structures.")
    if settings.device.startswith("cuda"):
        index = settings.device.partition(":")[2] or "0"
        if (devices / f"nvidia{index}").exists():
            yield well("device", f"There is a card for '{settings.device}'.")
        else:
            yield failure(
                "device",
                f"There is no card for '{settings.device}' on this machine.",
                'Set device = "cpu" in [inference], or install the NVIDIA driver.',
            )
