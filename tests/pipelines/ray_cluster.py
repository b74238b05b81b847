"""A real Ray cluster for tests: two nodes, each a set of processes on the loopback interface."""

import os
from typing import Any

os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # loopback only; read when Ray is imported

import ray
from ray.cluster_utils import Cluster

from pipelines.ray_engine import RayEngine

_NODE: dict[str, Any] = {"node_ip_address": "127.0.0.1", "object_store_memory": 80 << 20}


class TwoNodes:
    """A head with one CPU, and a second node with two that can be taken away."""

    def __init__(self) -> None:
        head = {"num_cpus": 1, "include_dashboard": False, **_NODE}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._second: Any = None
        ray.init(self._cluster.address, log_to_driver=False, logging_level="ERROR")

    def engine(self, workers: int, **options: Any) -> RayEngine:
        """An engine on both nodes; the second one joins again if it is gone."""
        if self._second is None:
            self._second = self._cluster.add_node(num_cpus=2, **_NODE)
        return RayEngine(workers, **options)

    @property
    def second(self) -> int:
        """The process that leads the second node."""
        pid: int = self._second.all_processes["raylet"][0].process.pid
        return pid

    def kill_second(self) -> None:
        """Kill all processes of the second node (SIGKILL)."""
        node, self._second = self._second, None
        self._cluster.remove_node(node, allow_graceful=False)

    def shutdown(self) -> None:
        """End everything."""
        ray.shutdown()
        self._cluster.shutdown()
