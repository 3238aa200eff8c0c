"""Writes the table of seeded defects into ``docs/gate.md``: ``python -m tests.defects``."""

from __future__ import annotations

from tests.defects.table import DOCUMENT, insert

if __name__ == "__main__":
    DOCUMENT.write_text(insert(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
