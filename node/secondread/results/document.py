"""A result object that has been made and not yet written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Protocol

from pydicom.dataset import Dataset


class Document(Protocol):
    """A DICOM object for the destination."""

    @property
    def kind(self) -> str:
        """One of the kinds of ``results.context``."""

    @property
    def name(self) -> str:
        """Its file's name without ``.dcm``; unique among the objects of a job in one form."""

    @property
    def header(self) -> Dataset:
        """The data set, of a large object without what makes it large."""

    def write(self, file: BinaryIO) -> None:
        """Write it as a DICOM file (PS3.10 7)."""


@dataclass(frozen=True, slots=True)
class WholeDocument:
    """A document that is one data set."""

    kind: str
    name: str
    header: Dataset

    def write(self, file: BinaryIO) -> None:
        """Write it as a DICOM file (PS3.10 7)."""
        self.header.save_as(file, enforce_file_format=True)
