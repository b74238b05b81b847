"""Which films are held out for validation: by a hash of the film's duplicate group.

A film, or a transcode of it, is never on both sides. A group keeps the side on which one of its
films stands already in a published version, so nothing moves when the library grows, even when a
copy comes whose id is lower and that the group is then named after. The trade-off: the split is a
function of what was published before, too. Where two groups turn out to be one, the films of one of
them may have to change sides; the side that was published first is kept.
"""

import dataclasses
from collections.abc import Mapping

from curation.errors import DatasetError
from curation.identities import digest

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


@dataclasses.dataclass(frozen=True, slots=True)
class Standing:
    """Where a film stands already in the versions of a dataset."""

    since: int
    """The first version that holds it."""
    side: str
    """In the newest version that holds it."""


def split_of_groups(
    groups: set[str], config: SplitConfig, settled: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Assign each group to 'train' or 'val'.

    Both sides get a group when there are two or more, one that is not settled if there is any.

    Args:
        groups: their names.
        config: how much is held out.
        settled: groups whose side is known already; the others go by the hash of their name.

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
    side |= settled or {}
    movable = [group for group in ordered if group not in (settled or {})] or ordered
    if "val" not in side.values():
        side[movable[0]] = "val"
    if "train" not in side.values():
        side[movable[-1]] = "train"
    return side


def sides_of_films(
    group_of_film: Mapping[str, str],
    config: SplitConfig,
    earlier: Mapping[str, Standing] | None = None,
) -> dict[str, str]:
    """Assign each film to 'train' or 'val', films of one duplicate group to the same.

    Args:
        group_of_film: film -> the name of its group.
        config: how much is held out.
        earlier: film -> where it stands already. The film that was published first decides for its
            group; of several, the one with the lowest id.

    Raises:
        DatasetError: validation is asked for and there is only one group.
    """
    known = earlier or {}
    settled: dict[str, str] = {}
    for film in sorted(group_of_film.keys() & known.keys(), key=lambda f: (known[f].since, f)):
        settled.setdefault(group_of_film[film], known[film].side)
    sides = split_of_groups(set(group_of_film.values()), config, settled)
    return {film: sides[group] for film, group in group_of_film.items()}


def _draw(group: str, seed: int) -> float:
    """A number in [0, 1) that belongs to the group."""
    return int(digest("split", str(seed), group)[:8], 16) / _HASH_SCALE
