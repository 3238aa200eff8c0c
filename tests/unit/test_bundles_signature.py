"""Signatures of model packages: who vouches for one, and what is refused."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from secondread.bundles.manifest import read_manifest
from secondread.bundles.registry import load_model
from secondread.bundles.signature import SIGNATURE_NAME, Trust, Vouched, check_signature, sign
from secondread.config.first_party import first_party_folder
from secondread.domain.network import ModelReference
from secondread.domain.packages import PackageTerms
from secondread.errors import ConfigurationError, ManifestError

SAMPLE = Path(__file__).resolve().parents[1] / "models" / "bright_head"


@dataclass(frozen=True)
class KeyPair:
    """A maker's key as two PEM files."""

    private: Path
    public: Path

    @property
    def demanded(self) -> PackageTerms:
        return PackageTerms(require_signature=True, trusted_keys=(str(self.public),))

    @property
    def trusted(self) -> PackageTerms:
        return PackageTerms(trusted_keys=(str(self.public),))


def make_keys(folder: Path, name: str) -> KeyPair:
    key = Ed25519PrivateKey.generate()
    pair = KeyPair(folder / f"{name}.key", folder / f"{name}.pem")
    pair.private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    pair.public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return pair


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SAMPLE, tmp_path / "bright_head"))


@pytest.fixture
def vendor(tmp_path: Path) -> KeyPair:
    return make_keys(tmp_path, "vendor")


def vouched(folder: Path, terms: PackageTerms) -> Vouched:
    return check_signature(folder, read_manifest(folder).digest, terms)


def test_a_signature_of_a_trusted_key_is_taken(package: Path, vendor: KeyPair) -> None:
    key = sign(package, vendor.private)
    assert vouched(package, vendor.demanded) == Vouched(Trust.SIGNED, key)
    reference = ModelReference("bright_head", str(package), "RESEARCH")
    assert load_model(reference, vendor.demanded).id == "bright_head"


def test_no_signature_is_refused_where_one_is_demanded(package: Path, vendor: KeyPair) -> None:
    assert vouched(package, vendor.trusted).trust is Trust.UNSIGNED
    reference = ModelReference("bright_head", str(package), "RESEARCH")
    with pytest.raises(ManifestError, match="has no signature"):
        load_model(reference, vendor.demanded)


def test_a_key_that_nobody_trusts(package: Path, vendor: KeyPair, tmp_path: Path) -> None:
    sign(package, make_keys(tmp_path, "other").private)
    assert vouched(package, vendor.trusted).trust is Trust.UNKNOWN_KEY
    with pytest.raises(ManifestError, match="none of the trusted_keys"):
        vouched(package, vendor.demanded)


@pytest.mark.parametrize("demanded", [True, False])
def test_a_changed_byte_is_refused_even_where_nothing_is_demanded(
    package: Path, vendor: KeyPair, demanded: bool
) -> None:
    sign(package, vendor.private)
    path = package / "model.toml"
    path.write_bytes(path.read_bytes().replace(b"high = 700.0", b"high = 701.0"))
    with pytest.raises(ManifestError, match="signature of the package in .* is wrong"):
        vouched(package, vendor.demanded if demanded else vendor.trusted)


def test_a_signature_under_the_name_of_another_key(
    package: Path, vendor: KeyPair, tmp_path: Path
) -> None:
    right = sign(package, vendor.private)
    wrong = sign(package, make_keys(tmp_path, "other").private)
    path = package / SIGNATURE_NAME
    path.write_text(path.read_text().replace(wrong, right))
    with pytest.raises(ManifestError, match="is wrong"):
        vouched(package, vendor.trusted)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "not = toml = at all",
        'algorithm = "none"\nkey = "k"\nsignature = ""\n',
        f'algorithm = "Ed25519"\nkey = "{"0" * 64}"\nsignature = "%%%"\n',
        f'algorithm = "Ed25519"\nkey = "{"0" * 64}"\nsignature = 3\n',
        'algorithm = "Ed25519"\nkey = "\\u001b[2J"\nsignature = "AAAA"\n',
        "x" * 100_000,
    ],
)
def test_a_damaged_signature_is_refused(package: Path, content: str) -> None:
    (package / SIGNATURE_NAME).write_text(content)
    with pytest.raises(ManifestError, match="is damaged"):
        vouched(package, PackageTerms())


def test_the_own_models_need_none_unless_the_operator_says_so(vendor: KeyPair) -> None:
    folder = first_party_folder("brain_mr")
    assert vouched(folder, vendor.demanded).trust is Trust.FIRST_PARTY
    strict = PackageTerms(
        require_signature=True, trusted_keys=(str(vendor.public),), trust_first_party=False
    )
    with pytest.raises(ManifestError, match="has no signature"):
        vouched(folder, strict)


def test_keys_of_another_kind(package: Path, vendor: KeyPair, tmp_path: Path) -> None:
    sign(package, vendor.private)
    other = generate_private_key(SECP256R1())
    private, public = tmp_path / "ec.key", tmp_path / "ec.pem"
    private.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(
        other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(ManifestError, match="not an Ed25519 private key"):
        sign(package, private)
    with pytest.raises(ConfigurationError, match="not an Ed25519 public key"):
        vouched(package, PackageTerms(trusted_keys=(str(public),)))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        vouched(package, PackageTerms(trusted_keys=(str(tmp_path / "absent.pem"),)))
