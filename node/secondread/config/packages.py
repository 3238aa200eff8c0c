"""``[packages]``: whose model packages the node takes."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from secondread.config.section import Section
from secondread.config.source import resolved
from secondread.config.values import Name
from secondread.domain.packages import PackageTerms

_USUAL = PackageTerms()


class PackagesSection(Section):
    """Whose model packages the node takes; docs/packages.md explains it."""

    require_signature: bool = Field(
        _USUAL.require_signature,
        description="Whether a model package needs the signature of one of the keys below.",
    )
    trusted_keys: list[Name] = Field(
        default_factory=list,
        description="PEM files of the Ed25519 public keys whose signatures count. "
        "Relative paths count from the folder of the configuration file.",
    )
    trust_first_party: bool = Field(
        _USUAL.trust_first_party,
        description="Whether the models that come with SecondRead need no signature.",
    )


def to_package_terms(section: PackagesSection, folder: Path) -> PackageTerms:
    """[packages] as a record; ``folder`` is that of the configuration file."""
    return PackageTerms(
        require_signature=section.require_signature,
        trusted_keys=tuple(str(resolved(folder, key)) for key in section.trusted_keys),
        trust_first_party=section.trust_first_party,
    )
