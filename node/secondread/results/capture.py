"""Slices with coloured outlines as Secondary Captures (PS3.3 A.8.5)."""

from __future__ import annotations

from secondread.results.analysis import Analysis
from secondread.results.context import ResultContext
from secondread.results.document import Document
from secondread.results.made import Made


def make_captures(context: ResultContext, analysis: Analysis, made: Made) -> tuple[Document, ...]:
    """One multi-frame object, where the form asks for it."""
    return ()
