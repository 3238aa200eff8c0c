"""Who may talk to the node."""
