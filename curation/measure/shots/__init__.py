"""Shot boundaries: per-frame traces while decoding, and shots derived from them without decoding.

`trace` measures a frame and never judges, `find` turns traces into shots; `cuts`, `gradual` and
`similarity` are its parts.
"""
