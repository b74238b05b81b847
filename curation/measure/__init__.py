"""One file per measurement, mutually independent.

Each file holds both halves of its measurement: what is *traced* while a film is decoded (raw
numbers, never a verdict), and how those traces become a clip's measurement afterwards.
"""
