"""What the items of a stage are called where a person reads it."""

from typing import Any

from curation.captioning.words import CaptionRequest
from curation.scoring.film import FilmToScore
from curation.shards.writing import ShardTask
from pipelines.inputs import FilmInput
from pipelines.steps.ingest import FilmWork


def name_of(item: Any) -> str:  # noqa: ANN401 - the items of every stage
    """A film's file name, the beginning of its id, or a shard's name."""
    match item:
        case ShardTask():
            return item.name
        case FilmWork():
            return item.film.path.name
        case FilmToScore():
            return item.video_id[:12]
        case (FilmInput() as film, _):
            return film.path.name
        case [CaptionRequest() as request, *_]:
            return request.path.name
        case _:
            return type(item).__name__
