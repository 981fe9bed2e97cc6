"""A database with a store, tenants that an application login may search, and what is due after loading."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date

import psycopg

from bench.common import Connection
from bench.corpus import Tenant
from tools.cluster import Cluster

DATABASE = "guestcomms"
APPLICATION = "bench_app"


@contextmanager
def new_store(cluster: Cluster, first: date) -> Iterator[Connection]:
    """A superuser's connection to a new store with partitions from the first day on, and a login for an application."""
    cluster.create_database(DATABASE)
    with psycopg.connect(cluster.dsn(DATABASE)) as connection:
        connection.execute("CREATE EXTENSION guestcomms CASCADE")
        connection.execute("SELECT guestcomms.create_store()")
        connection.execute("SELECT guestcomms.ensure_partitions(%s)", [first])
        connection.execute(f"CREATE ROLE {APPLICATION} LOGIN; GRANT guestcomms_app TO {APPLICATION}")
        connection.commit()
        yield connection


@contextmanager
def open_tenant(connection: Connection, tenant: Tenant, settings: Mapping[str, str] | None = None) -> Iterator[None]:
    """The tenant's session, in which these settings are in force and afterwards no more."""
    connection.execute("SELECT guestcomms.use_tenant(%s, true)", [tenant.tenant_id])
    for name, value in (settings or {}).items():
        connection.execute("SELECT guestcomms.set_setting(%s, %s)", [name, value])
    try:
        yield
    finally:
        for name in settings or {}:
            connection.execute("SELECT guestcomms.set_setting(%s, NULL)", [name])
        connection.execute("RESET guestcomms.context")


def admit_application(connection: Connection, tenant: Tenant) -> None:
    with open_tenant(connection, tenant):
        connection.execute("SELECT guestcomms.add_member(%s)", [APPLICATION])
    connection.commit()


@contextmanager
def application(cluster_dsn: str, tenant_id: str) -> Iterator[Connection]:
    """The application's connection, in the tenant; the DSN is of the login APPLICATION."""
    with psycopg.connect(cluster_dsn, autocommit=True) as connection:
        connection.execute("SELECT guestcomms.use_tenant(%s, true)", [tenant_id])
        yield connection


def settle(connection: Connection) -> None:
    """What jobs do in the hours after a load: statistics of words, cleaned pending lists, visibility maps."""
    connection.commit()
    connection.autocommit = True
    # Older versions rank without statistics of words.
    if connection.execute("SELECT to_regproc('guestcomms.refresh_term_statistics')").fetchone() != (None,):
        while connection.execute("SELECT guestcomms.refresh_term_statistics()").fetchone() != (0,):
            pass
    connection.execute("VACUUM ANALYZE")
    connection.autocommit = False
