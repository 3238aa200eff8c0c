"""What the headers of a study say: from the ledger where they are known, else from the files."""

from __future__ import annotations

from secondread.assembly.series import read_study
from secondread.assembly.summary import summarize
from secondread.assembly.volume import same_pixels
from secondread.domain.series import SeriesSummary
from secondread.domain.study import Study
from secondread.errors import NotFoundError
from secondread.pipeline.workplace import Workplace


def summaries(place: Workplace, study: Study) -> tuple[SeriesSummary, ...]:
    """The summary of every series of a study, by series number and UID.

    Files are read only of series whose objects are not those of the last time. What is found is
    kept in the ledger; no transaction is open while files are read. Objects that arrive meanwhile
    are seen the next time. Pixels are read only of images that lie at one place, to tell copies.

    Raises:
        NotFoundError: files of a series that has changed were removed.
    """
    uid = study.study_instance_uid
    with place.ledger.read() as view:
        digests = view.series.digests(uid)
        kept = view.series.of_study(study.id)
        found = {
            series_uid: kept[series_uid]
            for series_uid, digest in digests.items()
            if series_uid in kept and kept[series_uid].digest == digest
        }
        changed = [
            instance
            for series_uid in digests
            if series_uid not in found
            for instance in view.instances.of_series(uid, series_uid)
        ]
        removed = view.keeping.purged_of(uid)
    if gone := sum(one.sop_instance_uid in removed for one in changed):
        raise NotFoundError(
            f"New images came, but {gone} images of the same series were removed when their time "
            "was over ([retention]). Send the whole series again; the node then goes on by itself."
        )
    if not changed and len(found) == len(kept):
        return tuple(found[series_uid] for series_uid in kept)
    for series in read_study(changed, place.spool.root):
        alike = same_pixels(series.instances, series.headers, place.spool.root, place.decoder)
        found[series.series_instance_uid] = summarize(series, alike)
    ordered = tuple(sorted(found.values(), key=_order))
    with place.ledger.begin() as change:
        change.series.replace(study.id, ordered)
    return ordered


def _order(summary: SeriesSummary) -> tuple[bool, int, str]:
    return summary.number is None, summary.number or 0, summary.series_instance_uid
