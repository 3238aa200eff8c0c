"""``secondread model export`` and ``sign``: a package on its way to somebody else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secondread.cli.model_find import ModelArgument, find_package, load_if_any
from secondread.cli.options import ConfigOption, JsonOption
from secondread.errors import UsageError


def export_model(
    model: ModelArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="The ZIP file to write.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a package as one ZIP file, the same bytes each time, for another node to import."""
    from secondread.bundles.archive import export_package
    from secondread.bundles.manifest import read_manifest
    from secondread.cli.output import print_json, print_line

    manifest = read_manifest(find_package(load_if_any(config), model))
    try:
        names = export_package(manifest, out)
    except FileExistsError:
        raise UsageError(f"'{out}' is there already; give another name.") from None
    if as_json:
        print_json({"path": out, "id": manifest.id, "digest": manifest.digest, "files": names})
        return
    print_line(f"Wrote {manifest.id} {manifest.version} to '{out}', {len(names)} files.")
    print_line(f"To import it: secondread model import FILE --digest {manifest.digest}")


def sign_model(
    folder: Annotated[Path, typer.Argument(help="The folder of the package.")],
    key: Annotated[
        Path, typer.Option("--key", help="The PEM file of your Ed25519 private key, no password.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Sign a package that you made: write model.toml.sig beside its model.toml."""
    from secondread.bundles.manifest import read_manifest, verify
    from secondread.bundles.signature import SIGNATURE_NAME, sign
    from secondread.cli.output import print_json, print_line

    manifest = read_manifest(folder)
    verify(manifest)
    name = sign(folder, key)
    if as_json:
        print_json({"id": manifest.id, "digest": manifest.digest, "key": name})
    else:
        print_line(
            f"Signed {manifest.id} {manifest.version} with the key {name}; the signature is in "
            f"'{folder / SIGNATURE_NAME}'."
        )
