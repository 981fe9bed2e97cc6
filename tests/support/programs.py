"""Client programs of the cluster's own version."""

from __future__ import annotations

import os
import subprocess

from tools.cluster import Cluster


def run(cluster: Cluster, program: str, *arguments: str) -> bytes:
    """What the program prints; a failure is the test's."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    done = subprocess.run(
        [cluster.places.bindir / program, *arguments],
        env=environment | {"PGTZ": "UTC"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
