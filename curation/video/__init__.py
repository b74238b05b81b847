"""The only package that opens, cuts or encodes video.

`film` opens and decodes films (PyAV, whitelisted formats and protocols), `spans` finds frames by
their index, `retime` maps source frames to constant 24 fps, `conform` turns decoded frames into
upright pictures, `encode` writes samples, `packed` reads the shards that we wrote (decord).
"""
