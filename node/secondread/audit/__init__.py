"""The audit trail, seen from outside."""
