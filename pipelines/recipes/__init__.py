"""A recipe is a function that returns one complete, frozen, typed config."""
