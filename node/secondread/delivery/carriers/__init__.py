"""The ways to a destination: C-STORE, STOW-RS, a folder."""

from __future__ import annotations

from secondread.delivery.carriers.carrier import Blame, Carried, Carrier, Parcel
from secondread.delivery.carriers.dicom import DicomCarrier
from secondread.delivery.carriers.folder import FolderCarrier
from secondread.delivery.carriers.stow import StowCarrier
from secondread.domain.destination import Destination, Way
from secondread.errors import ConfigurationError

__all__ = ["Blame", "Carried", "Carrier", "Parcel", "carrier_for"]


def carrier_for(destination: Destination) -> Carrier:
    """The way to a destination; the destination of a ``sender`` is one peer, and DICOM.

    Raises:
        ConfigurationError: it lacks what its way needs.
    """
    if destination.way is Way.STOW and destination.web is not None:
        return StowCarrier(destination.web, destination.stow)
    if destination.way is Way.FOLDER and destination.folder is not None:
        return FolderCarrier(destination.folder)
    if destination.way is Way.DICOM:
        return DicomCarrier(destination)
    raise ConfigurationError(
        f"Destination '{destination.name}' does not say where it is: name its server, or its "
        "folder."
    )
