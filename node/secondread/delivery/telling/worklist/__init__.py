"""Unified Procedure Step: the node as performer of work that somebody else has scheduled."""
