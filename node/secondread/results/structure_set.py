"""The outlines of the structures as an RT Structure Set (PS3.3 A.19)."""

from __future__ import annotations

from secondread.results.analysis import Analysis
from secondread.results.context import ResultContext
from secondread.results.document import Document
from secondread.results.made import Made


def make_structure_set(
    context: ResultContext, analysis: Analysis, made: Made
) -> tuple[Document, ...]:
    """One, where the form asks for it and anything was found."""
    return ()
