"""Model packages: read, verify, find."""
