"""``[peers.complete]`` and ``[rules.complete]``: when a study is complete."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator

from secondread.config.conditions import parse_conditions
from secondread.config.section import Section
from secondread.domain.completeness import AtLimit, Completeness, WantedSeries
from secondread.domain.condition import Condition

_DAY_S = 86_400
_WEEK_S = 7 * _DAY_S
_USUAL = Completeness()
_AtLimit = Literal["continue", "hold", "drop"]


def _conditions_on_attributes(raw: object) -> tuple[Condition, ...]:
    found = parse_conditions(raw, attributes_only=True)
    if not found:
        raise ValueError("must not be empty, or any series would do")
    return found


class WantedSeriesRow(Section):
    """A series that has to be there before the study is complete."""

    name: str = Field(min_length=1, description="Your name for it, for the reason that is told.")
    when: Annotated[Any, PlainValidator(_conditions_on_attributes)] = Field(
        description="Conditions on its attributes, as in docs/rules.md; all must hold for one "
        "series."
    )


class PeerComplete(Section):
    """When the studies of this peer are complete; docs/completeness.md explains it."""

    learn: bool = Field(
        _USUAL.learn,
        description="Whether the quiet time is learned from the pauses in this peer's past studies "
        "of the same protocol. Until enough are known, quiet_s holds.",
    )
    quiet_min_s: float = Field(
        _USUAL.quiet_min_s, ge=0.1, le=_DAY_S, description="A learned quiet time is not shorter."
    )
    quiet_max_s: float = Field(
        _USUAL.quiet_max_s, ge=0.1, le=_DAY_S, description="A learned quiet time is not longer."
    )
    percentile: float = Field(
        _USUAL.percentile,
        ge=50,
        le=100,
        description="For how many of a hundred past studies a learned quiet time would have been "
        "long enough.",
    )
    on_release: bool = Field(
        _USUAL.on_release,
        description="Whether the end of the association that brought it completes a study; for "
        "senders that send a whole study over one association.",
    )
    counts: bool = Field(
        _USUAL.counts,
        description="Whether the numbers of images that headers, MPPS and availability notices "
        "announce are waited for, and complete the study when they are reached.",
    )
    ask: str = Field(
        _USUAL.ask,
        description="One of the [[destinations]] that is asked by C-FIND how many images it has "
        "of the study. Empty: none.",
    )
    wait_max_s: float = Field(
        _USUAL.wait_max_s,
        ge=0,
        le=_WEEK_S,
        description="Seconds after the first image at which waiting ends, whatever lacks; 0 is no "
        "limit. Default: at least two quiet times.",
    )
    at_limit: _AtLimit = Field(
        _USUAL.at_limit.value,
        description="What then becomes of the study: 'continue' with what is there, 'hold' it for "
        "a person, or 'drop' it.",
    )
    series: list[WantedSeriesRow] = Field(
        default_factory=list, description="Series that have to be there; see below."
    )


class RuleComplete(Section):
    """When a study is complete for this rule; what is left out is as for the peer."""

    quiet_s: float | None = Field(
        None,
        ge=0.1,
        le=_DAY_S,
        description="Seconds without a new image after which a study is complete. Default: the "
        "peer's, here and below.",
    )
    learn: bool | None = Field(None, description="Whether the quiet time is learned.")
    quiet_min_s: float | None = Field(
        None, ge=0.1, le=_DAY_S, description="A learned quiet time is not shorter."
    )
    quiet_max_s: float | None = Field(
        None, ge=0.1, le=_DAY_S, description="A learned quiet time is not longer."
    )
    percentile: float | None = Field(
        None,
        ge=50,
        le=100,
        description="For how many of a hundred past studies a learned quiet time would have been "
        "long enough.",
    )
    on_release: bool | None = Field(
        None, description="Whether the end of the association that brought it completes a study."
    )
    counts: bool | None = Field(None, description="Whether announced numbers are waited for.")
    ask: str | None = Field(
        None, description="One of the [[destinations]] that is asked for its count; '' is none."
    )
    wait_max_s: float | None = Field(
        None, ge=0, le=_WEEK_S, description="Seconds after which waiting ends; 0 is no limit."
    )
    at_limit: _AtLimit | None = Field(
        None, description="What then becomes of it for this rule: 'continue', 'hold' or 'drop'."
    )
    series: list[WantedSeriesRow] | None = Field(
        None, description="Series that have to be there, instead of the peer's."
    )


def to_completeness(quiet_s: float, table: PeerComplete) -> Completeness:
    """What ``[peers.complete]`` and the peer's quiet time say.

    A longest wait that nobody has set is never shorter than two quiet times.
    """
    fields = _fields(table, PeerComplete.model_fields)
    if "wait_max_s" not in table.model_fields_set:
        fields["wait_max_s"] = max(_USUAL.wait_max_s, 2 * quiet_s)
    return Completeness(quiet_s=quiet_s, **fields)


def to_fields(table: RuleComplete) -> dict[str, Any]:
    """Only what ``[rules.complete]`` sets, as fields of ``Completeness``."""
    return _fields(table, [key for key in RuleComplete.model_fields if _is_set(table, key)])


def _is_set(table: RuleComplete, key: str) -> bool:
    return getattr(table, key) is not None


def _fields(table: PeerComplete | RuleComplete, keys: Any) -> dict[str, Any]:
    found = {key: getattr(table, key) for key in keys}
    if "at_limit" in found:
        found["at_limit"] = AtLimit(found["at_limit"])
    if "series" in found:
        found["series"] = tuple(WantedSeries(row.name, row.when) for row in found["series"])
    return {
        key: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
        for key, value in found.items()
    }
