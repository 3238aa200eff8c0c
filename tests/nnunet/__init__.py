"""Small folders that nnU-Net v2 itself has trained, and what it answers with them."""
