"""A store with two tenants, and a login role for each kind of user."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from tests.support.database import Connection, Database
from tools.cluster import Cluster

LOGINS = {
    "app_login": "guestcomms_app",
    "other_app_login": "guestcomms_app",
    "analyst_login": "guestcomms_analyst",
    "privacy_login": "guestcomms_privacy",
    "operator_login": "guestcomms_operator",
    "issuer_login": "guestcomms_issuer",
    "nobody_login": None,
}


def create_logins(cluster: Cluster) -> None:
    """Make the login roles; roles are the cluster's, so once is enough for all databases."""
    for login, group in LOGINS.items():
        member = f" IN ROLE {group}" if group else ""
        cluster.psql(f"CREATE ROLE {login} LOGIN{member};")


@dataclass(frozen=True)
class Store:
    """Tenants A (app_login's) and B (other_app_login's) in a database."""

    database: Database
    tenant_a: UUID
    tenant_b: UUID

    def connect(self, user: str = "postgres", tenant: UUID | None = None, autocommit: bool = True) -> Connection:
        """A connection, working for a tenant until it is closed if one is given."""
        connection = self.database.connect(user, autocommit=True)
        if tenant is not None:
            connection.execute("SELECT guestcomms.use_tenant(%s, true)", [tenant])
        connection.autocommit = autocommit
        return connection


def create_tenants(database: Database) -> Store:
    """Add the two tenants, each with its member."""
    tenants: list[UUID] = []
    with database.connect() as connection:
        for name, timezone, language, region, member in (
            ("Tenant A", "Europe/Berlin", "en", "DE", "app_login"),
            ("Tenant B", "America/New_York", "en", "US", "other_app_login"),
        ):
            row = connection.execute(
                "SELECT guestcomms.add_tenant(%s, %s, %s, %s)", [name, timezone, language, region]
            ).fetchone()
            assert row is not None
            tenants.append(row[0])
            connection.execute("SELECT guestcomms.use_tenant(%s, true)", [row[0]])
            connection.execute("SELECT guestcomms.add_member(%s)", [member])
    return Store(database, *tenants)
