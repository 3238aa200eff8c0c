"""Frozen records and the state tables; imports nothing but errors."""
