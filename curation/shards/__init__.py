"""How samples are stored: planned, encoded, written as WebDataset tars, verified, listed.

`planning` decides which sample stands in which shard (pure), `encoding` makes a sample's video,
`document` its JSON, `writing` the tar, `manifest` the dataset version's own record.
"""
