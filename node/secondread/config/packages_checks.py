"""What must hold of ``[packages]``, and what is odd about it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from secondread.config.faults import Fault
from secondread.config.packages import PackagesSection
from secondread.config.remark import Remark
from secondread.config.settings import Settings
from secondread.config.source import Source, resolved
from secondread.config.tables import Tables, place

_FILE_MAX_BYTES = 64 * 1024
_PUBLIC = b"-----BEGIN PUBLIC KEY-----"


def check_packages(source: Source, tables: Tables) -> Iterator[Fault]:
    """Keys that are no keys, and demands that nothing could meet."""
    section = tables.sections["packages"]
    if not isinstance(section, PackagesSection):
        return
    for index, key in enumerate(section.trusted_keys):
        path = resolved(source.path.parent, key)
        if trouble := _trouble(path):
            sentence = f"'trusted_keys' in [packages] names '{path}', which {trouble}."
            yield Fault(place(source, ("packages", "trusted_keys", index)), sentence)
    nobody = not section.trusted_keys and not section.trust_first_party
    if section.require_signature and nobody:
        sentence = (
            "'require_signature' in [packages] is true, but there are no trusted_keys and "
            "trust_first_party is false, so that no model could run. Give the file of a key."
        )
        yield Fault(place(source, ("packages", "require_signature")), sentence)


def package_remarks(settings: Settings) -> Iterator[Remark]:
    """Keys that nobody is made to use, and a demand that only the own models meet."""
    terms = settings.packages
    if terms.require_signature and not terms.trusted_keys:
        yield Remark(
            "Signatures are demanded, but no key is trusted: only the models that come with "
            "SecondRead can run.",
            "Name the keys of other makers as 'trusted_keys' in [packages].",
        )
    if terms.trusted_keys and not terms.require_signature:
        yield Remark(
            "Keys are trusted, but a package without a signature runs too.",
            "Set require_signature = true in [packages].",
        )


def _trouble(path: Path) -> str:
    """A predicate; '' for a file that could be a public key."""
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_MAX_BYTES)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if b"PRIVATE KEY-----" in content:
        return "holds a private key; only the maker of a package has that, so give the public one"
    return "" if _PUBLIC in content else "is not a public key in PEM"
