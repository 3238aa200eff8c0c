"""Numbers about structures, and where they are measured."""
