"""Sending: the storage SCU, and the outbox that is worked off until everything has arrived."""
