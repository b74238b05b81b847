"""Shot boundaries: per-frame traces while decoding, and shots derived from them without decoding.

`trace` measures a frame and never judges; `find` turns traces into shots, by way of `cuts` and
`gradual` (which grows what `seeds` finds); `similarity` compares thumbnails for all of them.
`transnet` asks a network about every frame, if there is one; `judged` is what it adds to the rules.
"""
