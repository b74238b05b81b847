"""What can go wrong in evaluation, each raised where its cause is known.

Mistakes in what a user asked for are `ValueError`s; these are about videos and files found on disk.
"""


class EvaluationError(Exception):
    """What this package refuses to go on with; the message names the thing and the remedy."""


class MetricError(EvaluationError):
    """A video that a metric cannot judge: too short, too small, or not a video at all."""


class MissingWeightsError(EvaluationError):
    """Weights that a metric needs are not here; the message says which, where and what to do."""


class StudyError(EvaluationError):
    """A human study that cannot go on as it is: it changed, or its database cannot be reached."""
