"""A model's maps as Parametric Maps (PS3.3 A.75)."""

from __future__ import annotations

from secondread.results.analysis import Analysis
from secondread.results.context import ResultContext
from secondread.results.document import Document
from secondread.results.made import Made


def make_parametric_maps(
    context: ResultContext, analysis: Analysis, made: Made
) -> tuple[Document, ...]:
    """One for each map that the manifest declares."""
    return ()
