"""Editing: where sampling starts, along which times it walks, what it is held to, how near it came.

Arrays in, arrays out: what to edit with these is told in the verb's own table.
"""
