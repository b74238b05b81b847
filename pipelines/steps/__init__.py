"""The steps of curation, one file each, in order: identify, ingest, choose, caption, pack."""
