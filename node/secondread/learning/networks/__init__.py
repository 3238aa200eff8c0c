"""Networks that tell one thing of a whole image.

They are not on the worker's list: no runtime of the node answers with one number of an image alone.
"""
