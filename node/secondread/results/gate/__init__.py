"""The gate before the door: what no validator sees is asserted here.

Each check reads the file that is about to leave, not the objects that made it, and shares no code
with what wrote it. A fault is one sentence. ``check`` raises the first of them as ``GateError``;
``examine`` tells all that can be told of anybody's file.
"""

from secondread.results.gate.check import check, check_refusal
from secondread.results.gate.examine import Examination, Sources, examine, read_sources

__all__ = ["Examination", "Sources", "check", "check_refusal", "examine", "read_sources"]
