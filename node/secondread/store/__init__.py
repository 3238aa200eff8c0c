"""The ledger (what must still happen) and the spool (the bytes)."""

from secondread.store.ledger import Ledger, Transaction
from secondread.store.spool import Spool

__all__ = ["Ledger", "Spool", "Transaction"]
