"""Rewrites the generated blocks of ``statement.md``: ``python -m conformance.generate``.

A block stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``; a test fails when one of
them is not what the code says today.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from conformance.tables import TABLES

STATEMENT = Path(__file__).parent / "statement.md"
_BLOCK = re.compile(r"(<!-- generated: (?P<name>[^>]+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def render(text: str) -> str:
    """The statement with every block as the code has it now.

    Raises:
        ValueError: a block has an unknown name, or a table has no block.
    """
    names = [match["name"] for match in _BLOCK.finditer(text)]
    if sorted(names) != sorted(TABLES):
        odd = sorted(set(names) ^ set(TABLES)) or names
        raise ValueError(f"The blocks of the statement and the tables differ: {', '.join(odd)}.")
    return _BLOCK.sub(lambda match: f"{match[1]}{TABLES[match['name']]()}\n{match[3]}", text)


def main() -> int:
    """Rewrite the statement."""
    before = STATEMENT.read_text(encoding="utf-8")
    after = render(before)
    STATEMENT.write_text(after, encoding="utf-8")
    print(f"{STATEMENT.name}: {'as it was' if before == after else 'rewritten'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
