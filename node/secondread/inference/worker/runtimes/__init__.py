"""Runtimes: what turns a manifest and a volume into a prediction."""
