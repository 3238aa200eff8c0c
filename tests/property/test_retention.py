"""Whatever a study has been through, what is not safe or on hold never goes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from secondread.domain.hold import Hold
from secondread.domain.retention import Haste, KeptJob, KeptStudy, Kind, Retention, judge
from secondread.domain.states import DeliveryState, JobState, StudyState

DESTINATIONS = ("pacs", "viewer", "folder")
SENDINGS = st.frozensets(
    st.tuples(st.sampled_from(DESTINATIONS), st.sampled_from(DeliveryState)), max_size=4
)
JOBS = st.builds(
    KeptJob, st.just(1), st.just("k"), st.sampled_from(JobState), st.booleans(), SENDINGS
)
DAYS = st.sampled_from([0.0, 1.0, 30.0]) | st.floats(0, 1000)
STUDIES = st.builds(
    KeptStudy,
    st.just(1),
    st.just("1.2"),
    st.sampled_from([StudyState.DONE, *StudyState]),
    st.floats(0, 1e9),
    st.none() | st.just(Hold(1, "court", "anna", 5.0)),
    st.integers(0, 9),
    st.integers(0, 99),
    st.lists(JOBS, max_size=3).map(tuple),
)
TERMS = st.builds(Retention, DAYS, DAYS, DAYS, DAYS, DAYS, DAYS, early_days=st.floats(0.1, 100))
SAFE_BY_ITSELF = {DeliveryState.SAFE, DeliveryState.RESERVED, DeliveryState.REPLACED}


@settings(max_examples=2000, deadline=None)
@given(STUDIES, TERMS, st.sampled_from(Kind), st.sampled_from(Haste), st.floats(0, 1e10))
def test_what_goes_is_done_free_safe_and_old_enough(
    study: KeptStudy, terms: Retention, kind: Kind, haste: Haste, now: float
) -> None:
    trusted = {"folder"}
    verdict = judge(study, kind, terms, trusted.__contains__, haste)
    if not verdict.may_go(now):
        return
    assert study.hold is None
    assert study.state is StudyState.DONE
    for job in study.jobs:
        assert job.state in {JobState.DELIVERED, JobState.SUPERSEDED}
        for destination, state in job.sendings:
            proven = state in SAFE_BY_ITSELF
            assert proven or (state is DeliveryState.SENT and destination in trusted)
    assert now - study.rested_at >= 0
    if haste is Haste.NONE:
        assert now >= study.rested_at + terms.length_s(kind)
        assert getattr(terms, f"{kind.value}_days")


@given(STUDIES, TERMS, st.sampled_from(Kind), st.floats(0, 1e10))
def test_more_haste_never_keeps_what_would_have_gone(
    study: KeptStudy, terms: Retention, kind: Kind, now: float
) -> None:
    order = (Haste.NONE, Haste.EARLY, Haste.ANY_AGE)
    goes = [judge(study, kind, terms, lambda _: True, haste).may_go(now) for haste in order]
    assert goes == sorted(goes)
