"""What can go wrong in the model room, each raised where its cause is known.

Mistakes in what a user asked for are `ValueError`s; these are about things found on disk or made.
"""


class ModelError(Exception):
    """What this package refuses to go on with; the message names the thing and the remedy."""


class PromptCacheError(ModelError):
    """A stored prompt embedding is damaged, or is not what it should be."""


class NodeStoreError(ModelError):
    """Stored frames of a tree's node are damaged, or another run is writing them."""


class CheckpointError(ModelError):
    """A folder that should hold everything that generation needs does not."""


class RankError(ModelError):
    """A process that shared a generation is gone."""
