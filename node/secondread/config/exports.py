"""De-identified exports in the operator's file: the key of the crosswalk, and options by name."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from secondread.config.section import Section
from secondread.domain.export import ExportOption, NamedExport, contradiction

BUILT_IN = ("basic", "research")
"""Profiles that are always there; what they take is in docs/deidentification.md."""

_PATH_SIGNS = re.compile(r"[/\\]")


def _check_credential(name: str) -> str:
    if _PATH_SIGNS.search(name) or name in (".", ".."):
        raise ValueError("must be the name of a credential, not a path")
    return name


def _check_name(name: str) -> str:
    if not name.strip():
        raise ValueError("must not be empty")
    if name in BUILT_IN:
        raise ValueError(f"is '{name}', which is always there; choose another name")
    return name


def _check_options(options: list[str]) -> list[str]:
    if trouble := contradiction(tuple(ExportOption(option) for option in options)):
        raise ValueError(trouble)
    return options


Option = Literal[
    "retain-uids",
    "retain-device",
    "retain-institution",
    "retain-patient",
    "retain-safe-private",
    "full-dates",
    "modified-dates",
    "drop-times",
    "clean-descriptors",
    "clean-structured",
    "clean-graphics",
    "clean-pixels",
    "find-text",
]


class DeidSection(Section):
    """The crosswalk between originals and pseudonyms of exports."""

    key_file: str = Field(
        "/etc/secondread/crosswalk.key",
        min_length=1,
        description="File with the keys of the crosswalk, made by 'secondread crosswalk key'; only "
        "its owner may read it, and it does not belong into data_dir. "
        "A relative path counts from the folder of the configuration file.",
    )
    key_credential: Annotated[str, AfterValidator(_check_credential)] = Field(
        "secondread-crosswalk",
        description="Name of a systemd credential that holds the keys; where it is given, the file "
        "is not read. Empty: none.",
    )


class ExportRow(Section):
    """Options of 'secondread export' under a name of your own."""

    name: Annotated[str, AfterValidator(_check_name)] = Field(
        description="Your name for it, for --profile; must be unique."
    )
    options: Annotated[list[Option], AfterValidator(_check_options)] = Field(
        default_factory=list,
        description="What is kept or cleaned besides the basic profile: docs/crosswalk.md lists "
        "the options.",
    )
    project: str = Field(
        "",
        description="The project whose pseudonyms it uses. Empty: --project says it.",
    )


def to_named_export(row: ExportRow) -> NamedExport:
    """A row as a record."""
    options = tuple(ExportOption(option) for option in dict.fromkeys(row.options))
    return NamedExport(row.name, options, row.project)
