"""Engines on many hosts by Ray: it places them, restarts them, and is trusted with nothing else.

`actor` and `controller` know no Ray; `placement` and `__main__`'s verbs are the only ones that do.
"""
