"""The storage SCP: who may come in, and what each request is answered."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from weakref import WeakKeyDictionary

import structlog
from pydicom.dataset import Dataset
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import register_uid, uid_to_service_class

from secondread.access.peers import AccessList, Refusal
from secondread.dicom.contexts import STORAGE_SOP_CLASSES, TRANSFER_SYNTAXES, VERIFICATION
from secondread.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from secondread.domain.clock import Clock
from secondread.domain.network import Peer
from secondread.errors import SecondReadError
from secondread.intake.examine import Announcement
from secondread.intake.storing import ObjectStore, Sender
from secondread.observe.keys import study_key
from secondread.store import Ledger

log = structlog.stdlib.get_logger(__name__)

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
MAXIMUM_PDU_BYTES = 131072
_REJECTED_BY_ACSE = "too-many-associations"


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where the SCP listens, as whom, and how much at a time; times in seconds."""

    ae_title: str
    host: str
    port: int
    max_associations: int
    timeout_s: float


class StorageServer:
    """Verification and Storage SCP on pynetdicom."""

    def __init__(
        self,
        settings: ServerSettings,
        access: AccessList,
        objects: ObjectStore,
        ledger: Ledger,
        clock: Clock,
        secret: bytes,
    ) -> None:
        self._settings = settings
        self._access = access
        self._objects = objects
        self._ledger = ledger
        self._clock = clock
        self._secret = secret
        self._server: Any = None
        self._callers: WeakKeyDictionary[Association, Peer] = WeakKeyDictionary()

    def start(self) -> int:
        """Listen; returns the port.

        Raises:
            OSError: the port is taken or may not be used.
        """
        # Identifiers are PHI, and a chunk of the data set would be too.
        _config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False
        _config.LOG_HANDLER_LEVEL = "none"
        entity = AE(self._settings.ae_title)
        entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        entity.maximum_associations = self._settings.max_associations
        entity.maximum_pdu_size = MAXIMUM_PDU_BYTES
        entity.network_timeout = self._settings.timeout_s
        entity.acse_timeout = entity.dimse_timeout = self._settings.timeout_s
        syntaxes = [syntax.uid for syntax in TRANSFER_SYNTAXES]
        entity.add_supported_context(VERIFICATION.uid, syntaxes[:2])
        for sop_class in STORAGE_SOP_CLASSES:
            if uid_to_service_class(sop_class.uid) is not StorageServiceClass:
                register_uid(sop_class.uid, _keyword(sop_class.name), StorageServiceClass)
            entity.add_supported_context(sop_class.uid, syntaxes)
        self._server = entity.start_server(
            (self._settings.host, self._settings.port),
            block=False,
            evt_handlers=[
                (evt.EVT_REQUESTED, self._on_request),
                (evt.EVT_REJECTED, self._on_rejected),
                (evt.EVT_C_ECHO, self._on_echo),
                (evt.EVT_C_STORE, self._on_store),
                (evt.EVT_ABORTED, self._on_abort),
            ],
        )
        port = int(self._server.server_address[1])
        log.info("listening", host=self._settings.host, port=port)
        return port

    def stop(self) -> None:
        """Stop listening and end every association."""
        if self._server is not None:
            self._server.shutdown()

    def _on_request(self, event: evt.Event) -> None:
        association = event.assoc
        request = association.requestor.primitive
        assert isinstance(request, A_ASSOCIATE)
        address = str(association.requestor.address)
        calling, called = str(request.calling_ae_title), str(request.called_ae_title)
        decision = self._access.admit(calling, called, address)
        if isinstance(decision, Refusal):
            titles = {"calling": calling, "called": called, "address": address}
            self._note_refusal(decision.code, decision.reason, titles)
            association.acse.send_reject(decision.result, decision.source, decision.diagnostic)
            association.is_rejected = True
            association.kill()
            return
        self._callers[association] = decision
        log.info("association opened", peer=decision.name, address=address)

    def _on_rejected(self, event: evt.Event) -> None:
        """Told after ACSE itself refused, which it does only when too many are open."""
        peer = self._callers.get(event.assoc)
        name = peer.name if peer else "?"
        self._note_refusal(
            _REJECTED_BY_ACSE,
            f"Peer '{name}' came while {self._settings.max_associations} associations were open; "
            "it was told to try again.",
            {"peer": name},
        )

    def _note_refusal(self, code: str, reason: str, caller: Mapping[str, str]) -> None:
        # The titles are a stranger's text: ascii() keeps line ends and terminal codes out.
        shown = {key: ascii(text)[1:-1] for key, text in caller.items()}
        log.warning("association refused", code=code, reason=reason, **shown)
        with self._ledger.begin() as change:
            change.trail.append(
                self._clock.now(), "association-refused", reason, detail={"code": code, **shown}
            )

    def _on_abort(self, event: evt.Event) -> None:
        peer = self._callers.get(event.assoc)
        if peer is not None:
            log.warning("association aborted", peer=peer.name)

    def _on_echo(self, event: evt.Event) -> int:
        log.info("echo", peer=self._callers[event.assoc].name)
        return SUCCESS

    def _on_store(self, event: evt.Event) -> Dataset:
        peer = self._callers[event.assoc]
        request = cast(C_STORE, event.request)
        announced = Announcement(
            sop_class_uid=str(request.AffectedSOPClassUID),
            sop_instance_uid=str(request.AffectedSOPInstanceUID),
            transfer_syntax_uid=str(event.context.transfer_syntax),
        )
        sender = Sender(peer.name, peer.ae_title, peer.quiet_s)
        key = study_key(announced.sop_instance_uid, self._secret)
        started = time.monotonic()
        try:
            data = request.DataSet.getvalue() if request.DataSet is not None else b""
            new = self._objects.store(data, announced, sender)
        except SecondReadError as error:
            return self._refuse(error, peer, key, error.dimse_status)
        except Exception as error:
            # The scanner must get an answer and the association must live on; the fault is ours.
            log.exception("an object could not be stored", peer=peer.name, object=key)
            return self._refuse(error, peer, key, PROCESSING_FAILURE)
        seconds = round(time.monotonic() - started, 4)
        log.debug("stored", peer=peer.name, object=key, new=new, seconds=seconds)
        return _status(SUCCESS, "")

    def _refuse(self, error: Exception, peer: Peer, key: str, status: int) -> Dataset:
        known = isinstance(error, SecondReadError)
        reason = str(error) if known else "The node failed while it stored the object."
        code = error.audit_code if isinstance(error, SecondReadError) else "failed"
        log.warning(
            "object refused",
            peer=peer.name,
            object=key,
            code=code,
            reason=reason,
            status=f"0x{status:04X}",
        )
        try:
            with self._ledger.begin() as change:
                change.trail.append(
                    self._clock.now(),
                    "object-refused",
                    f"From peer '{peer.name}': {reason}",
                    detail={"code": code, "status": status, "object": key},
                )
        except SecondReadError as trouble:
            # With a full disk there is no audit row either; the log line above is what remains.
            log.error("the refusal could not be recorded", reason=str(trouble))
        return _status(status, reason)


def _status(status: int, comment: str) -> Dataset:
    """A C-STORE response; Error Comment is an LO of at most 64 characters (PS3.7 C)."""
    answer = Dataset()
    answer.Status = status
    if comment:
        answer.ErrorComment = comment.replace("\\", "/")[:64]
    return answer


def _keyword(name: str) -> str:
    return "".join(character for character in name.title() if character.isalnum())
