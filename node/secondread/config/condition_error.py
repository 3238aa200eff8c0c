"""What is wrong with a condition, and where in it."""

from __future__ import annotations

Path = tuple[str | int, ...]


class ConditionError(ValueError):
    """A condition that says nothing, or nothing that can be tested; the text is one sentence.

    Attributes:
        path: which value, from what was parsed inwards; such as ``(1, "any", 0, "from")``.
    """

    def __init__(self, sentence: str, path: Path = ()) -> None:
        super().__init__(sentence)
        self.path = path
