"""When, where, and how often retried: the jobs of `pipelines` as Prefect flows.

The only package that imports Prefect; without it every job still runs. Neither Prefect nor anything
it starts from here reports to anybody: that is said before Prefect is imported.
"""

import os

os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
