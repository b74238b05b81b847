"""A real S3-compatible server as processes on the loopback interface: OpenStack Swift with s3api.

Where its programs are not installed (Debian: swift-proxy, swift-account, swift-container,
swift-object), moto's server stands in: a simulation of S3 in Python, and named so.
"""

import contextlib
import getpass
import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.servers import dying_with_us

USER, SECRET = "films:curator", "correct-horse"
_SERVERS = ("account", "container", "object")
# On a busy machine half a second passes before a server answers; Swift then shuns it for a minute.
_PATIENCE = "conn_timeout = 20\nnode_timeout = 60\nerror_suppression_limit = 1000000\n"
_RINGS = """
import sys
from swift.common.ring import RingBuilder

folder, *servers = sys.argv[1:]
for server, port in (entry.split(":") for entry in servers):
    builder = RingBuilder(4, 1, 1)
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port),
                     "device": "disk", "weight": 1.0, "replication_ip": "127.0.0.1",
                     "replication_port": int(port), "meta": ""})
    builder.rebalance()
    builder.get_ring().save(f"{folder}/{server}.ring.gz")
"""
# Accounts and containers are looked up for each request. A Swift that serves anybody keeps what it
# finds in memcached; this keeps it in the proxy, which is one process here.
_CACHE = """
import json
import time

class Kept:
    def __init__(self):
        self.entries = {}

    def get(self, key, raise_on_error=False):
        value, end = self.entries.get(key, ("null", 0.0))
        return json.loads(value) if time.time() < end else None

    def set(self, key, value, serialize=True, time=0, **_):
        self.entries[key] = json.dumps(value), now() + (time or 86400)

    def delete(self, key, server_key=None):
        self.entries.pop(key, None)

now = time.time

def filter_factory(global_conf, **local_conf):
    kept = Kept()
    def filtered(app):
        def serve(environ, start_response):
            environ["swift.cache"] = kept
            return app(environ, start_response)
        return serve
    return filtered
"""
_START_SECONDS = 120.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def object_store(folder: Path) -> Iterator[tuple[str, str]]:
    """Run a server; gives its name ('swift' or 'moto') and its endpoint."""
    with contextlib.ExitStack() as stack:
        port = free_port()
        if shutil.which("swift-proxy-server"):
            name, servers = "swift", _swift(folder, port)
        else:
            command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
            name, servers = "moto", {port: command}
        for number, command in enumerate(servers.values()):
            log = stack.enter_context((folder / f"server-{number}.log").open("wb"))
            process = subprocess.Popen(
                dying_with_us(command),
                stdout=log,
                stderr=log,
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(folder)} if name == "swift" else None,
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
        for each in servers:
            _wait_for(each, folder)
        yield name, f"http://127.0.0.1:{port}"


def _wait_for(port: int, folder: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with contextlib.suppress(OSError), contextlib.closing(connection):
            connection.request("GET", "/")
            connection.getresponse()
            return
        time.sleep(0.1)
    logs = "".join(path.read_text()[-2000:] for path in folder.glob("server-*.log"))
    raise AssertionError(f"the object store did not start: {logs}")


def _swift(folder: Path, port: int) -> dict[int, list[str]]:
    """Write the configuration of one node with one device; its ports, and what serves at each."""
    (folder / "devices" / "disk").mkdir(parents=True)
    (folder / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix = tests\n"
        "[storage-policy:0]\nname = gold\ndefault = yes\n"
    )
    common = (
        f"bind_ip = 127.0.0.1\nuser = {getpass.getuser()}\nswift_dir = {folder}\n"
        f"devices = {folder}/devices\nmount_check = false\nworkers = 0\nlog_level = WARNING\n"
    )
    ports = {server: free_port() for server in _SERVERS}
    # Swift lives in the system's Python, not in ours.
    rings = [f"{server}:{ports[server]}" for server in _SERVERS]
    subprocess.run(["/usr/bin/python3", "-c", _RINGS, str(folder), *rings], check=True)
    commands = {}
    for server, own in ports.items():
        conf = folder / f"{server}.conf"
        conf.write_text(
            f"[DEFAULT]\n{common}bind_port = {own}\n"
            f"[pipeline:main]\npipeline = {server}-server\n"
            f"[app:{server}-server]\nuse = egg:swift#{server}\n{_PATIENCE}"
        )
        commands[own] = [f"swift-{server}-server", str(conf)]
    (folder / "kept_in_the_proxy.py").write_text(_CACHE)
    account, name = USER.split(":")
    (folder / "proxy.conf").write_text(
        f"[DEFAULT]\n{common}bind_port = {port}\n"
        "[pipeline:main]\npipeline = catch_errors cache s3api tempauth slo proxy-server\n"
        "[filter:catch_errors]\nuse = egg:swift#catch_errors\n"
        "[filter:cache]\npaste.filter_factory = kept_in_the_proxy:filter_factory\n"
        "[filter:s3api]\nuse = egg:swift#s3api\nlocation = us-east-1\n"
        f"[filter:tempauth]\nuse = egg:swift#tempauth\nuser_{account}_{name} = {SECRET} .admin\n"
        "[filter:slo]\nuse = egg:swift#slo\n"
        f"[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n{_PATIENCE}"
    )
    return commands | {port: ["swift-proxy-server", str(folder / "proxy.conf")]}
