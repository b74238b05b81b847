"""Which steps, in what order, with which numbers: whole jobs as plain Python, recipes, the CLI."""
