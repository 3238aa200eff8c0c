"""Readers: from a folder or a table to cases."""
