"""Every error the node raises on purpose, and what each one means to whoever sees it.

::

    SecondReadError
    ├── ConfigurationError             the operator's file is wrong
    │   └── CrosswalkKeyError          a key of the crosswalk is lost, wrong or readable by others
    ├── UsageError                     the command line is wrong
    ├── NotFoundError                  a study, model, peer … that is not there
    ├── LedgerError                    the ledger cannot be opened or is of another version
    │   ├── ClaimLostError             somebody else works on the row now
    │   └── InvalidTransitionError     a state change that the state table does not allow
    ├── IntakeError                    one object could not be taken
    │   ├── OutOfResourcesError        0xA700, the scanner should try again
    │   │   └── WriteFailedError       0xA700, the disk is full or broken
    │   ├── DataSetMismatchError       0xA900, message, file and data set name different things
    │   ├── ConflictingInstanceError   0xA900, the same SOP Instance UID with other content
    │   ├── CannotUnderstandError      0xC000, not a data set
    │   ├── SopClassNotSupportedError  0x0122
    │   └── NotAuthorisedError         0x0124
    ├── NotAnalysedError               a sound refusal: the study ends as 'not analysed, because …'
    │   ├── GeometryError              the series is not one sound volume
    │   ├── ModelPausedError           the model is paused until a person resumes it
    │   ├── PixelDataError             the pixels cannot be decoded
    │   └── NoSuitableSeriesError      no series fits the model's envelope
    ├── ModelError                     a model package or its worker
    │   ├── ManifestError              model.toml is wrong or a file does not match its digest
    │   ├── WorkerLostError            the worker died, retryable
    │   ├── DeadlineExceededError      the model took too long and was killed
    │   ├── ForbiddenActError          the model tried what its containment forbids
    │   ├── LimitExceededError         the model needs more memory or room than it may have
    │   └── InvalidPredictionError     the model's answer is not what its manifest declares
    ├── DataError                      data to learn from or to judge by are wrong or leak
    ├── RecipeError                    a recipe of training is wrong
    ├── ExportError                    an export cannot be written
    ├── ExportRefusedError             an object may not leave the node, de-identified or not
    ├── ResultError
    │   └── GateError                  a result object failed an assertion and may not leave
    └── DeliveryError
        ├── PeerUnreachableError       retryable: network, association, out of resources
        └── PeerRefusedError           final: the PACS will not take this object
            ├── ServiceMissingError    nor anything else by this service
            └── KindRefusedError       nor any other of its kind; another form may do
"""

from __future__ import annotations

from typing import ClassVar

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
# sysexits.h
EXIT_DATA = 65
EXIT_NO_INPUT = 66
EXIT_UNAVAILABLE = 69
EXIT_SOFTWARE = 70
EXIT_IO = 74
EXIT_TEMPORARY = 75
EXIT_NO_PERMISSION = 77
EXIT_CONFIGURATION = 78


class SecondReadError(Exception):
    """Something went wrong that a person can act on; the message is a full sentence.

    Attributes:
        retryable: the same work may succeed later without anybody's help.
        dimse_status: the status a DIMSE peer gets (PS3.4 B.2.3, PS3.7 C).
        exit_code: what a command that ends with this error exits with.
        audit_code: a short stable name for audit rows, metrics and alerts.
    """

    retryable: ClassVar[bool] = False
    dimse_status: ClassVar[int] = 0x0110
    exit_code: ClassVar[int] = EXIT_FAILED
    audit_code: ClassVar[str] = "failed"


class ConfigurationError(SecondReadError):
    """The configuration file is wrong."""

    exit_code = EXIT_CONFIGURATION
    audit_code = "configuration"


class CrosswalkKeyError(ConfigurationError):
    """A key of the crosswalk is lost, is another one, or can be read by others."""

    audit_code = "crosswalk-key"


class UsageError(SecondReadError):
    """The command line is wrong."""

    exit_code = EXIT_USAGE
    audit_code = "usage"


class NotFoundError(SecondReadError):
    """There is no such thing."""

    exit_code = EXIT_NO_INPUT
    audit_code = "not-found"


class LedgerError(SecondReadError):
    """The ledger cannot be used."""

    retryable = True
    dimse_status = 0xA700
    exit_code = EXIT_IO
    audit_code = "ledger"


class ClaimLostError(LedgerError):
    """The claim of a row ended, and somebody else has it."""

    retryable = False
    audit_code = "claim-lost"


class InvalidTransitionError(LedgerError):
    """A state change that the state table does not allow."""

    retryable = False
    exit_code = EXIT_SOFTWARE
    audit_code = "invalid-transition"


class IntakeError(SecondReadError):
    """An object could not be taken."""

    exit_code = EXIT_DATA
    audit_code = "intake"


class OutOfResourcesError(IntakeError):
    """Too little space is left to take the object."""

    retryable = True
    dimse_status = 0xA700
    audit_code = "out-of-resources"


class WriteFailedError(OutOfResourcesError):
    """The disk did not take the object: it is full or broken."""

    audit_code = "write-failed"


class DataSetMismatchError(IntakeError):
    """The data set is not what the message says it is."""

    dimse_status = 0xA900
    audit_code = "data-set-mismatch"


class ConflictingInstanceError(DataSetMismatchError):
    """The same SOP Instance UID came before with other content; the first one is kept."""

    audit_code = "conflicting-instance"


class CannotUnderstandError(IntakeError):
    """The bytes cannot be read as a DICOM data set."""

    dimse_status = 0xC000
    audit_code = "cannot-understand"


class SopClassNotSupportedError(IntakeError):
    """The SOP class is not one that this node stores."""

    dimse_status = 0x0122
    audit_code = "sop-class-not-supported"


class NotAuthorisedError(IntakeError):
    """The peer may not do this."""

    dimse_status = 0x0124
    exit_code = EXIT_NO_PERMISSION
    audit_code = "not-authorised"


class NotAnalysedError(SecondReadError):
    """The study is sound but is not analysed, for the reason in the message."""

    exit_code = EXIT_DATA
    audit_code = "not-analysed"

    def __init__(self, message: str, *, outcome: str = "") -> None:
        super().__init__(message)
        self.outcome = outcome or self.audit_code
        """The stable name of the reason, such as ``missing-slices``."""


class GeometryError(NotAnalysedError):
    """The series is not one sound volume."""

    audit_code = "geometry"


class ModelPausedError(NotAnalysedError):
    """The model, or one that it builds on, is paused; nothing is wrong with the study."""

    audit_code = "model-paused"


class PixelDataError(NotAnalysedError):
    """The pixel data cannot be decoded."""

    audit_code = "pixel-data"


class NoSuitableSeriesError(NotAnalysedError):
    """No series of the study fits the model's envelope."""

    audit_code = "no-suitable-series"


class ModelError(SecondReadError):
    """A model package or its worker failed."""

    exit_code = EXIT_SOFTWARE
    audit_code = "model"


class ManifestError(ModelError):
    """The model package is not sound."""

    exit_code = EXIT_DATA
    audit_code = "manifest"


class WorkerLostError(ModelError):
    """The worker process died before it answered."""

    retryable = True
    audit_code = "worker-lost"


class DeadlineExceededError(ModelError):
    """The model did not answer within its deadline and was killed."""

    audit_code = "deadline-exceeded"


class ForbiddenActError(ModelError):
    """The model tried what no model may do, and its containment stopped it."""

    audit_code = "forbidden-act"


class LimitExceededError(ModelError):
    """The model needs more memory or room than it may have."""

    audit_code = "limit-exceeded"


class InvalidPredictionError(ModelError):
    """The model's answer is not what its manifest declares."""

    audit_code = "invalid-prediction"


class DataError(SecondReadError):
    """Data to learn from or to judge by cannot be used: unreadable, incomplete, or in two folds."""

    exit_code = EXIT_DATA
    audit_code = "data"


class RecipeError(SecondReadError):
    """A recipe of training is wrong."""

    exit_code = EXIT_DATA
    audit_code = "recipe"


class ExportError(SecondReadError):
    """An export cannot be written where it should go, or is not what was planned."""

    exit_code = EXIT_IO
    audit_code = "export"


class ExportRefusedError(SecondReadError):
    """An object may not leave the node, for its pixels may show who it is or nobody can tell."""

    exit_code = EXIT_NO_PERMISSION
    audit_code = "export-refused"


class ResultError(SecondReadError):
    """A result object could not be made."""

    exit_code = EXIT_SOFTWARE
    audit_code = "result"


class GateError(ResultError):
    """A result object failed an assertion and may not leave the node."""

    audit_code = "gate"


class DeliveryError(SecondReadError):
    """A result could not be delivered."""

    exit_code = EXIT_UNAVAILABLE
    audit_code = "delivery"


class PeerUnreachableError(DeliveryError):
    """The peer cannot be reached, or is out of resources, for now."""

    retryable = True
    exit_code = EXIT_TEMPORARY
    audit_code = "peer-unreachable"


class PeerRefusedError(DeliveryError):
    """The peer will not take this object."""

    audit_code = "peer-refused"


class ServiceMissingError(PeerRefusedError):
    """The peer does not do this service, or not for this caller; another way is needed."""

    audit_code = "no-such-service"


class KindRefusedError(PeerRefusedError):
    """The peer will not take objects of this kind or encoding; it may take another form of it."""

    audit_code = "kind-refused"
