"""Studies with a token wherever something can be hidden, and a scanner that finds every one."""
