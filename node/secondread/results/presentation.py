"""Outlines as Grayscale Softcopy Presentation States (PS3.3 A.33.1)."""

from __future__ import annotations

from secondread.results.analysis import Analysis
from secondread.results.context import ResultContext
from secondread.results.document import Document
from secondread.results.made import Made


def make_presentation_states(
    context: ResultContext, analysis: Analysis, made: Made
) -> tuple[Document, ...]:
    """One for each series, where the form asks for it."""
    return ()
