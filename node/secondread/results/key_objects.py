"""The slices worth opening, as a Key Object Selection (PS3.3 A.35.4)."""

from __future__ import annotations

from secondread.results.analysis import Analysis
from secondread.results.context import ResultContext
from secondread.results.document import Document
from secondread.results.made import Made


def make_key_objects(
    context: ResultContext, analysis: Analysis, made: Made
) -> tuple[Document, ...]:
    """One, where the form asks for it."""
    return ()
