"""PostgreSQL from this machine's own programs: where they are, who runs them, an empty cluster.

Nothing here starts a server or waits for one: `flows.stack` keeps one running for people, and tests
keep one for as long as they last. PostgreSQL refuses to run as root, so root has it run by another
user, who then has to be able to enter the folder.
"""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from flows.errors import StackError


def programs() -> Path:
    """The folder of PostgreSQL's server programs.

    Raises:
        StackError: there are none.
    """
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = shutil.which("initdb") or (str(found[-1]) if found else None)
    if initdb is None:
        raise StackError("there are no PostgreSQL server programs (initdb); install postgresql")
    return Path(initdb).resolve().parent


def server_user() -> str | None:
    """The user to run it as; None: ourselves, who are not root."""
    if os.geteuid() != 0:
        return None
    users = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in users)


def make_cluster(folder: Path, user: str, password: str, log: Path, *options: str) -> None:
    """Make an empty cluster with one user, whose password every connection is asked for.

    Args:
        folder: gets a folder ``data`` when all is well; what an interrupted try left is replaced.
        user: of the database.
        password: of that user; on the disk only for as long as this takes.
        log: what PostgreSQL says is added to it.
        options: of initdb besides.

    Raises:
        StackError: it could not be made.
    """
    initdb, runs_as = programs() / "initdb", server_user()
    if runs_as:
        _refuse_if_closed(folder.parent, runs_as)
    folder.mkdir(mode=0o700, exist_ok=True)
    partial, words = folder / "data.partial", folder / "password"
    if partial.exists():
        shutil.rmtree(partial)
    try:
        words.touch(mode=0o600)
        words.write_text(password, encoding="utf-8")
        if runs_as:
            for path in (folder, words):
                shutil.chown(path, runs_as)
        with log.open("ab") as opened:
            done = subprocess.run(  # noqa: S603 - PostgreSQL's own program
                [
                    *(initdb, "--pgdata", partial),
                    *("--auth", "scram-sha-256", "--username", user, "--pwfile", words),
                    *options,
                ],
                check=False,
                user=runs_as,
                cwd=folder,
                stdout=opened,
                stderr=subprocess.STDOUT,
            )
    finally:
        words.unlink(missing_ok=True)
    if done.returncode:
        raise StackError(f"PostgreSQL's files could not be made; see {log}")
    partial.rename(folder / "data")


def server_command(folder: Path, port: int, *settings: str) -> list[str]:
    """The server over a cluster that `make_cluster` has made, on the loopback interface only."""
    options = [word for setting in settings for word in ("-c", setting)]
    return [
        *(str(programs() / "postgres"), "-D", str(folder / "data"), "-p", str(port)),
        *("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", *options),
    ]


def _refuse_if_closed(folder: Path, user: str) -> None:
    for parent in (folder, *folder.parents):
        if not parent.stat().st_mode & 0o001:
            raise StackError(
                f"PostgreSQL runs as {user!r}, who may not enter {parent}: name another folder, or "
                "do this as a user other than root"
            )
