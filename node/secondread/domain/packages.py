"""What the operator asks of model packages before one of them may run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PackageTerms:
    """Whose packages are taken.

    Attributes:
        require_signature: whether a package needs the signature of a trusted key.
        trusted_keys: PEM files of Ed25519 public keys, absolute.
        trust_first_party: whether the models that come with SecondRead need none.
    """

    require_signature: bool = False
    trusted_keys: tuple[str, ...] = ()
    trust_first_party: bool = True
