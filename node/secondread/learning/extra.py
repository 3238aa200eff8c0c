"""The extra ``train``: what learning needs beyond what a node does."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from secondread.errors import NotFoundError

REPORT_MODULES = ("jinja2", "matplotlib", "nibabel")


def require(modules: Sequence[str] = REPORT_MODULES) -> None:
    """Go no further where a package of the extra is missing.

    Raises:
        NotFoundError: one is; the sentence says how to install it.
    """
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise NotFoundError(
            f"This command needs packages that are not installed here: {', '.join(missing)}. They "
            "come with the extra 'train': pip install 'secondread[train]'."
        )
