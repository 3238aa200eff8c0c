"""One page of pictures and numbers as a Secondary Capture."""

from __future__ import annotations

from secondread.results.analysis import Analysis
from secondread.results.context import ResultContext
from secondread.results.document import Document
from secondread.results.made import Made


def make_summary(context: ResultContext, analysis: Analysis, made: Made) -> tuple[Document, ...]:
    """One, where the form asks for it."""
    return ()
