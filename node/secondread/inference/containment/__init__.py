"""What keeps a model in: the strongest means that this system has, decided once and named.

``survey`` tries them, ``launch`` builds the command, ``entry`` is the first code of the contained
process. docs/containment.md says what each of them closes.
"""
