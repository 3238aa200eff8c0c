"""Telling others what there is, what was done and what is being done."""
