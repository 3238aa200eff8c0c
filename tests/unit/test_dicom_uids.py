from __future__ import annotations

import uuid

import pytest
from pydicom.uid import UID

from secondread.dicom.contexts import (
    COMPRESSED_SYNTAXES,
    STORAGE_SOP_CLASSES,
    TRANSFER_SYNTAXES,
    VERIFICATION,
)
from secondread.dicom.uids import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    derive_uid,
)
from secondread.errors import ConfigurationError


def test_the_same_parts_give_the_same_valid_uid():
    uid = derive_uid("job", "model", "1.0", "seg")
    assert uid == derive_uid("job", "model", "1.0", "seg")
    assert UID(uid).is_valid
    assert uuid.UUID(int=int(uid.removeprefix("2.25."))).version == 8


def test_other_parts_give_another_uid():
    assert len({derive_uid("a", "bc"), derive_uid("ab", "c"), derive_uid("abc")}) == 3


@pytest.mark.parametrize("root", ["1.2.3", "1.2.826.0.1.3680043.8.498", "1." + "2" * 41])
def test_an_own_root_is_kept_and_the_length_holds(root):
    uid = derive_uid("a", root=root)
    assert uid.startswith(f"{root}.")
    assert len(uid) <= 64
    assert UID(uid).is_valid


@pytest.mark.parametrize("root", ["1.2.", "1.02", "hospital", "1." + "2" * 42, "1"])
def test_a_root_that_cannot_be_used_is_a_configuration_error(root):
    with pytest.raises(ConfigurationError, match="UID root"):
        derive_uid("a", root=root)


def test_the_node_names_itself():
    # A change of this value would make the node another implementation to every peer.
    assert IMPLEMENTATION_CLASS_UID == "2.25.50836601954082666249003730185981307252"
    assert IMPLEMENTATION_VERSION_NAME.startswith("SECONDREAD")
    assert len(IMPLEMENTATION_VERSION_NAME) <= 16


def test_contexts_hold_what_a_hospital_sends():
    names = {item.uid: item.name for item in STORAGE_SOP_CLASSES}
    assert names["1.2.840.10008.5.1.4.1.1.2"] == "CT Image Storage"
    assert names["1.2.840.10008.5.1.4.1.1.66.7"] == "Label Map Segmentation Storage"
    assert "1.2.840.10008.5.1.4.1.1.88.34" in names
    assert len(names) == len(STORAGE_SOP_CLASSES)
    assert all(UID(uid).is_valid and name.strip() for uid, name in names.items())
    assert VERIFICATION.uid == "1.2.840.10008.1.1"


def test_contexts_know_every_class_that_pynetdicom_can_store():
    sop_class = pytest.importorskip("pynetdicom.sop_class")
    mine = {item.uid for item in STORAGE_SOP_CLASSES}
    assert {str(uid) for uid in sop_class._STORAGE_CLASSES.values()} <= mine


def test_transfer_syntaxes_are_the_common_ones_without_references_to_a_server():
    uids = [item.uid for item in TRANSFER_SYNTAXES]
    assert uids[0] == "1.2.840.10008.1.2.1"
    assert len(set(uids)) == len(uids)
    compressed = {item.uid for item in COMPRESSED_SYNTAXES}
    for tail in ("4.50", "4.70", "4.80", "4.90", "4.91", "4.201", "5"):
        assert f"1.2.840.10008.1.2.{tail}" in compressed
    assert "1.2.840.10008.1.2.4.94" not in compressed
