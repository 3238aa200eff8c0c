"""The door: associations, C-ECHO and C-STORE."""
