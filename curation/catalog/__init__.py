"""The Iceberg catalog: what was found, measured and published, in tables that any engine reads.

`schema` says which tables there are, `connection` where they live, `store` appends, reads and
deletes rows, `datasets` publishes versions and finds them again, `query` answers SQL.
"""
