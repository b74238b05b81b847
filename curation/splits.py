"""Which films are held out for validation: by a hash of the film's duplicate group.

A film, or a transcode of it, is never on both sides. A group keeps its side when the library grows,
but for the first group that validation needs in order not to be empty.
"""

import dataclasses
from collections.abc import Mapping

from curation.errors import DatasetError
from curation.records import digest

_HASH_SCALE = float(16**8)


@dataclasses.dataclass(frozen=True, slots=True)
class SplitConfig:
    """How much is held out.

    Attributes:
        val_share: expected share of groups in validation; 0 for none.
        seed: another seed draws other groups.
    """

    val_share: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.val_share < 1.0:
            raise ValueError(f"split.val_share = {self.val_share}: give 0 or more, below 1")


def split_of_groups(groups: set[str], config: SplitConfig) -> dict[str, str]:
    """Assign each group to 'train' or 'val'.

    Both sides get a group when there are two or more.

    Raises:
        DatasetError: validation is asked for and there is only one group.
    """
    if config.val_share == 0.0 or not groups:
        return dict.fromkeys(groups, "train")
    if len(groups) == 1:
        raise DatasetError(
            "all kept clips are of one film, or of copies of it, so there is nothing to hold out "
            "for validation: add a second film, or train without validation by "
            "--set split.val_share=0"
        )
    drawn = {group: _draw(group, config.seed) for group in groups}
    ordered = sorted(groups, key=lambda group: (drawn[group], group))
    side = {group: "val" if drawn[group] < config.val_share else "train" for group in ordered}
    side[ordered[0]] = "val"
    side[ordered[-1]] = "train"
    return side


def sides_of_films(group_of_film: Mapping[str, str], config: SplitConfig) -> dict[str, str]:
    """Assign each film to 'train' or 'val', films of one duplicate group to the same.

    Args:
        group_of_film: film -> the name of its group.
        config: how much is held out.

    Raises:
        DatasetError: validation is asked for and there is only one group.
    """
    sides = split_of_groups(set(group_of_film.values()), config)
    return {film: sides[group] for film, group in group_of_film.items()}


def _draw(group: str, seed: int) -> float:
    """A number in [0, 1) that belongs to the group."""
    return int(digest("split", str(seed), group)[:8], 16) / _HASH_SCALE
