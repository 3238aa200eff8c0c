"""What the node says about itself: logs without patients, and keys in their place."""
