"""From what a person asks for, a profile's name and options, to the profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from secondread.config.faults import nearest
from secondread.deid.profile.options import BASIC, PROFILES, Dates, Profile
from secondread.domain.export import ExportOption, NamedExport, contradiction
from secondread.errors import NotFoundError, UsageError

_FLAGS: Mapping[ExportOption, str] = MappingProxyType(
    {
        ExportOption.RETAIN_UIDS: "retain_uids",
        ExportOption.RETAIN_DEVICE: "retain_device",
        ExportOption.RETAIN_INSTITUTION: "retain_institution",
        ExportOption.RETAIN_PATIENT: "retain_patient",
        ExportOption.RETAIN_SAFE_PRIVATE: "retain_safe_private",
        ExportOption.CLEAN_DESCRIPTORS: "clean_descriptors",
        ExportOption.CLEAN_STRUCTURED: "clean_structured",
        ExportOption.CLEAN_GRAPHICS: "clean_graphics",
        ExportOption.CLEAN_PIXELS: "clean_pixels",
        ExportOption.FIND_TEXT: "find_text",
    }
)


def choose(
    name: str, options: Sequence[ExportOption], known: Sequence[NamedExport]
) -> tuple[Profile, str]:
    """The profile, and the project that its name stands for, or ''.

    Args:
        name: ``basic``, ``research`` or the name of a row of [[exports]].
        options: taken besides.
        known: the rows of [[exports]].

    Raises:
        NotFoundError: nothing has that name.
        UsageError: the options contradict each other.
    """
    project = ""
    if name in PROFILES:
        base = options_of(PROFILES[name])
    else:
        row = next((each for each in known if each.name == name), None)
        if row is None:
            names = [*PROFILES, *(each.name for each in known)]
            raise NotFoundError(f"There is no profile '{name}'; {nearest(name, names)}")
        base, project = row.options, row.project
    taken = tuple(dict.fromkeys((*base, *options)))
    if trouble := contradiction(taken):
        raise UsageError(f"The profile '{name}' with these options {trouble}.")
    added = [option.value for option in options if option not in base]
    title = f"{name} with {', '.join(added)}" if added else name
    return _built(title, taken), project


def options_of(profile: Profile) -> tuple[ExportOption, ...]:
    """The options that a profile takes."""
    taken = [option for option, flag in _FLAGS.items() if getattr(profile, flag)]
    if profile.dates is Dates.FULL:
        taken.append(ExportOption.FULL_DATES)
    if profile.dates is Dates.SHIFTED:
        taken.append(ExportOption.MODIFIED_DATES)
        if not profile.times:
            taken.append(ExportOption.DROP_TIMES)
    return tuple(taken)


def _built(title: str, options: Sequence[ExportOption]) -> Profile:
    dates = Dates.REMOVED
    if ExportOption.FULL_DATES in options:
        dates = Dates.FULL
    elif ExportOption.MODIFIED_DATES in options:
        dates = Dates.SHIFTED
    flags = {flag: True for option, flag in _FLAGS.items() if option in options}
    times = ExportOption.DROP_TIMES not in options
    return replace(BASIC, name=title, dates=dates, times=times, **flags)
