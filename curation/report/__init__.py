"""The shard quality report: one dataset version, as a data team looks at it.

`collect` turns tables into the typed document of `document`, `page` turns that into one HTML file
that needs nothing else. Numbers are made in Python and shown; only the what-if is counted in the
page, from the measurements that are embedded there.
"""
