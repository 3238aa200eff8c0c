"""Augmentation: random changes of what a network is taught by."""
