"""Results read back, ours and other people's, with none of the code that writes them."""
