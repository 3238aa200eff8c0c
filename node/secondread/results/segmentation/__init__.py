"""Segmentations: segments, frames and pixels, streamed to their file."""
