"""When, where, how often retried: the only package that imports prefect."""
