"""When, where, and how often retried: the jobs of `pipelines` as Prefect flows.

The only package that imports Prefect; without it every job still runs. What is set here, before
Prefect is imported, holds unless the environment says otherwise: nothing that it starts reports to
anybody, and its temporary server has time to start on a machine that is busy.
"""

import os

os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")
