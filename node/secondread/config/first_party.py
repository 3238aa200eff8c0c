"""Where the models that come with SecondRead lie."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def first_party_root() -> Path:
    """The folder of the models: package data in an installed wheel, ``models/`` in a checkout."""
    packaged = _PACKAGE / "_models"
    return packaged if packaged.is_dir() else _PACKAGE.parent.parent / "models"


def first_party_folder(model_id: str) -> Path:
    """The folder of one model; it need not be there."""
    return first_party_root() / model_id


def first_party_ids() -> tuple[str, ...]:
    """The ids of all models that come with this installation, sorted."""
    root = first_party_root()
    if not root.is_dir():
        return ()
    return tuple(sorted(folder.name for folder in root.iterdir() if folder.is_dir()))
