"""What goes besides segmentation and report, where a destination wants it."""
