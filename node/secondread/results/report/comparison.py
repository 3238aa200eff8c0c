"""What has changed since an earlier report on the same patient."""

from __future__ import annotations

from secondread.results.analysis import Analysis
from secondread.results.context import ResultContext
from secondread.results.earlier import Change, EarlierReport, find_changes
from secondread.results.made import Made
from secondread.results.report import concepts
from secondread.results.report.content import CONTAINS, ContentWriter, Item, Reference, modify
from secondread.results.report.draft import Comparison, Draft
from secondread.results.report.language import Tongue
from secondread.results.wording import plain

_LONG_STRING = 64


def begin_comparison(context: ResultContext, analysis: Analysis, made: Made) -> Comparison:
    """Compare with the earlier report; another model's is not compared with, nor named."""
    earlier = analysis.earlier
    if earlier is None or earlier.model_id != plain(context.manifest.id, _LONG_STRING):
        return Comparison()
    return Comparison(earlier, find_changes(made.measured, earlier, context.manifest))


def refer_to_earlier(writer: ContentWriter, earlier: EarlierReport) -> Item:
    """The earlier report, for the root of the tree.

    TID 1500 has no row of its own for it; it is extensible. It is no predecessor, for it is about
    another study and is not replaced (PS3.3 C.17.2).
    """
    reference = Reference(earlier.sop_class_uid, earlier.sop_instance_uid)
    return writer.composite(CONTAINS, concepts.PRIOR_REPORT, reference)


def list_changes(writer: ContentWriter, change: Change | None) -> list[Item]:
    """The change of a structure's volume, in mL and, where there was something before, in %."""
    if change is None:
        return []
    difference_ml = change.after_ml - change.before_ml
    method = [modify(writer, concepts.MEASUREMENT_METHOD, concepts.COMPARISON)]
    items = [
        writer.number(CONTAINS, concepts.CHANGE, difference_ml, concepts.MILLILITRE, method),
    ]
    if change.percent is not None:
        relative, unit = concepts.RELATIVE_CHANGE, concepts.PERCENT
        items.append(writer.number(CONTAINS, relative, change.percent, unit, method))
    return items


def compare(draft: Draft) -> list[str]:
    """The comparison in words: with what, and which structures are no longer there.

    The change of the others is in their groups.
    """
    earlier, tongue = draft.comparison.earlier, draft.writer.tongue
    if earlier is None:
        return []
    sentences = [_name_earlier(draft.context, earlier, tongue)]
    for one in draft.made.measured:
        change = draft.comparison.changes.get(one.label.value)
        if change is not None and not one.voxels:
            sentences.append(
                tongue.say(
                    "changed",
                    name=tongue.name(one.label),
                    before=f"{change.before_ml:.3g}",
                    after=f"{change.after_ml:.3g}",
                    change=_write_change(change),
                )
            )
    return sentences


def _name_earlier(context: ResultContext, earlier: EarlierReport, tongue: Tongue) -> str:
    is_same_model = earlier.model_version == plain(context.manifest.version, _LONG_STRING)
    return tongue.say(
        "compared" if is_same_model else "compared_other_model",
        date=tongue.write_date(earlier.study_date),
        version=earlier.model_version or "?",
    )


def _write_change(change: Change) -> str:
    if change.percent is not None:
        return f"{change.percent:+.1f} %"
    return f"{change.after_ml - change.before_ml:+.3g} mL"
