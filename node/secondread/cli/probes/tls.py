"""The TLS files: there, fitting, private, and valid for a while yet."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from secondread.access.certificates import find_troubles, read_certificates, remark_on_key
from secondread.access.tls import server_context
from secondread.cli.probes.finding import Finding, failure, warning, well
from secondread.config.settings import Settings
from secondread.errors import ConfigurationError

_SUBJECT = "TLS"


def probe_tls(settings: Settings, now: float | None = None) -> Iterator[Finding]:
    """Everything about certificates and the key; nothing where TLS is not set up.

    ``now`` is in seconds since the epoch, the machine's clock if not given.
    """
    now = time.time() if now is None else now
    found = list(_certificates(settings, now))
    if settings.tls.port:
        told = {finding.sentence for finding in found}
        found += [finding for finding in _files(settings) if finding.sentence not in told]
    if not found and settings.tls.certificate != Path():
        found.append(_all_well(settings, now))
    yield from found


def _certificates(settings: Settings, now: float) -> Iterator[Finding]:
    for trouble in find_troubles(settings, now, settings.tls.warn_days):
        # One peer or destination that is cut off does not keep the node from working for others.
        grave = trouble.over and trouble.use not in {"peer", "destination"}
        yield (failure if grave else warning)(_SUBJECT, trouble.sentence, trouble.remedy)


def _files(settings: Settings) -> Iterator[Finding]:
    """What OpenSSL says to them together, as the node will ask it."""
    try:
        server_context(settings.tls)
    except ConfigurationError as error:
        yield failure(_SUBJECT, str(error), "Correct the file, or its place in [tls].")
    remark = remark_on_key(settings.tls.key)
    if remark:
        yield warning(_SUBJECT, remark, f"chmod 600 '{settings.tls.key}'")


def _all_well(settings: Settings, now: float) -> Finding:
    own = read_certificates(settings.tls.certificate, "'certificate' in [tls]")[0]
    return well(
        _SUBJECT, f"The certificate of '{own.subject}' is good for {own.days_left(now):.0f} days."
    )
