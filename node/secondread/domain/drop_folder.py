"""A folder that somebody else looks into."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from secondread.errors import ConfigurationError


class Layout(StrEnum):
    """Where in the folder an object goes."""

    STUDY = "study"
    """``<study>/<series>/<instance>.dcm``, by their UIDs."""
    FLAT = "flat"
    """``<instance>.dcm``."""


@dataclass(frozen=True, slots=True)
class DropFolder:
    """A folder that is a destination.

    Attributes:
        name: the administrator's, for sentences.
        folder: must be there; it is never made, so that no share that is not mounted is filled.
        layout: where in it an object goes.
        marker: a file that must be in ``folder``, which a share has and its mount point has not;
            "" is none.
        file_mode: permissions of the files; folders have those to be entered besides.

    Raises:
        ConfigurationError: ``folder`` is not absolute, or ``marker`` is not a name alone.
    """

    name: str
    folder: Path
    layout: Layout = Layout.STUDY
    marker: str = ""
    file_mode: int = 0o640

    def __post_init__(self) -> None:
        if not self.folder.is_absolute():
            raise ConfigurationError(f"'folder' of destination '{self.name}' must begin with '/'.")
        if self.marker and (self.marker != Path(self.marker).name or self.marker in {".", ".."}):
            raise ConfigurationError(
                f"'marker' of destination '{self.name}' must be the name of a file, without '/'."
            )

    @property
    def shown(self) -> str:
        """It, for sentences."""
        return f"the folder '{self.folder}' of '{self.name}'"
