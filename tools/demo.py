"""The demo store: a cluster whose database `guestcomms` holds the extension, a store and the
demo's messages, for `make up` and `make demo`."""

from __future__ import annotations

import argparse
import subprocess
import sys

from tools.cluster import DATABASE, DIRECTORY, ROOT, Cluster, ClusterError
from tools.postgres import PostgresNotFound

LOADING = f"{DATABASE}_loading"


def run_demo(module: str, cluster: Cluster, database: str = DATABASE) -> None:
    """Run a module of demo/, which connects as a program of the user's would."""
    done = subprocess.run([sys.executable, "-m", f"demo.{module}", "--dsn", cluster.dsn(database)], cwd=ROOT, check=False)
    if done.returncode != 0:
        raise ClusterError(f"demo.{module} failed; the server's log is {cluster.log_path}")


def prepare(cluster: Cluster) -> None:
    """Bring the cluster up and load the demo's data once. It is loaded under another name, so that the database is there
    only when all of it is."""
    cluster.create()
    cluster.start()
    if cluster.has_database(DATABASE):
        return
    print("Making a store and loading the demo's messages ...", flush=True)
    if cluster.has_database(LOADING):
        cluster.drop_database(LOADING)
    cluster.create_database(LOADING)
    cluster.psql("CREATE EXTENSION guestcomms CASCADE;", LOADING)
    cluster.psql("SELECT guestcomms.create_store();", LOADING)
    run_demo("load", cluster, LOADING)
    cluster.psql(f"ALTER DATABASE {LOADING} RENAME TO {DATABASE};", "postgres")


def main() -> int:
    """Bring up the demo store."""
    parser = argparse.ArgumentParser(prog="python3 -m tools.demo", description=main.__doc__)
    parser.add_argument("--show", action="store_true", help="show it off, then stop what was not running before")
    options = parser.parse_args()
    try:
        cluster = Cluster(DIRECTORY)
        was_running = cluster.is_running()
        try:
            prepare(cluster)
            if options.show:
                run_demo("show", cluster)
        finally:
            if options.show and not was_running:
                cluster.stop()
        if not options.show:
            print("The store is up: `make psql` opens it, `make down` stops it.")
        elif not was_running:
            print("The server is stopped; `make up` starts it again with these messages.")
    except (ClusterError, PostgresNotFound) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
