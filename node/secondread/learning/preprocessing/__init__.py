"""Preprocessing: images and tables brought to one scale before they teach."""
