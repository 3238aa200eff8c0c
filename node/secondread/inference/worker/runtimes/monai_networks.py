"""The networks of MONAI that a bundle may name: a fixed table, so that no file decides what is run.

Importing MONAI imports whatever it finds of a hundred optional packages, and one of these, urllib3
behind requests, opens a socket when it is imported, to see whether there is IPv6. A contained
worker that asks for a socket is ended by the kernel (docs/containment.md). So MONAI is imported
here with nothing but what its networks compute with; it takes the others for absent, as it is made
to. It also asks for the name of its user, whom a contained process has not.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import MappingProxyType, ModuleType
from typing import Any

from torch import nn

from secondread.errors import ManifestError

__all__ = ["NETWORKS", "build_monai_network"]

_PLACE = "monai.networks.nets"
NETWORKS: Mapping[str, str] = MappingProxyType(
    {
        **{name: name for name in ("AttentionUnet", "DynUNet", "HighResNet", "SegResNet")},
        **{name: name for name in ("SegResNetDS", "SwinUNETR", "UNETR", "UNet", "VNet")},
        **dict.fromkeys(("BasicUNet", "BasicUnet", "Basicunet"), "BasicUNet"),
        **dict.fromkeys(("DynUnet", "Dynunet"), "DynUNet"),
        **dict.fromkeys(("Unet",), "UNet"),
    }
)
"""``_target_`` of a ``network_def``, without its module → class."""
_COMPUTES = frozenset(
    {
        *("monai", "torch", "torchgen", "functorch", "numpy", "scipy", "einops", "packaging"),
        *("typing_extensions", "sympy", "mpmath", "networkx", "jinja2", "markupsafe"),
        *("filelock", "fsspec"),
    }
)
"""MONAI, what its networks compute with, and what that needs."""
_BUILD_FACTS = "_sysconfigdata"
_USER = "LOGNAME"
"""Where Python's ``getpass`` looks first for who is there."""


class _Others(MetaPathFinder):
    """Says of every package that is not in the list that it is not installed."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Give None, which lets others look, or say that there is nothing."""
        top = fullname.partition(".")[0]
        if top in _COMPUTES or top in sys.stdlib_module_names or top.startswith(_BUILD_FACTS):
            return None
        raise ModuleNotFoundError(f"No module named '{fullname}'", name=fullname)


@contextmanager
def _alone() -> Iterator[None]:
    others, before = _Others(), os.environ.get(_USER)
    sys.meta_path.insert(0, others)
    os.environ[_USER] = "model"
    try:
        yield
    finally:
        sys.meta_path.remove(others)
        os.environ.pop(_USER)
        if before is not None:
            os.environ[_USER] = before


def build_monai_network(target: str, options: Mapping[str, Any]) -> nn.Module:
    """Build an untrained network.

    Args:
        target: ``_target_`` of a bundle's ``network_def``.
        options: its arguments, plain values.

    Raises:
        ManifestError: the network is not in the table, takes several images, does not take these
            options, or MONAI is not installed.
    """
    place, _, name = target.rpartition(".")
    if name not in NETWORKS or (place and not f"{place}.".startswith(f"{_PLACE}.")):
        known = ", ".join(sorted(set(NETWORKS.values())))
        raise ManifestError(
            f"The MONAI bundle's network is '{target}', which is not known here; known: {known}. "
            "Any other one runs as TorchScript: 'python -m monai.bundle ckpt_export' makes it."
        )
    if options.get("in_channels", 1) != 1:
        raise ManifestError(
            f"The MONAI bundle's network takes {options['in_channels']} images; the node gives a "
            "model one volume."
        )
    try:
        with _alone():
            from monai.networks import nets
    except ImportError:
        raise ManifestError(
            "A MONAI network by name needs MONAI: install SecondRead with its extra 'monai'. As "
            "TorchScript it needs nothing: 'python -m monai.bundle ckpt_export' makes it."
        ) from None
    try:
        network: nn.Module = getattr(nets, NETWORKS[name])(**options)
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ManifestError(
            f"The MONAI network '{name}' does not take the options of the bundle: {reason}"
        ) from None
    return network
