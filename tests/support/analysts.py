"""Analysts of several tenants, and a populated warehouse for them to read.

Tenants A and B are those of tests/support/population.py; C, of which an analyst is a member too, is closed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from psycopg import sql

from tests.support.database import Connection
from tests.support.population import CANARY, Inhabitants, add_inhabitants, load_warehouse, populate
from tests.support.probe import Relation, find_relations
from tests.support.queries import one
from tests.support.store import Store

CANARIES = CANARY | {"c": "cormorantcanary"}
# Logins of analysts, with the tenants that they are members of.
MEMBERSHIPS = {
    "bi_of_a": "a",
    "bi_of_both": "abc",
    "bi_of_none": "",
    "bi_of_all": "",
    "bi_team": "b",  # a role that others have
    "bi_in_team": "",
    "bi_not_inheriting": "",
    "bi_behind": "",  # by bi_not_inheriting
}
# A message of a tenant with an event, which the warehouse has not read: they are in what is live.
UNREAD = """
WITH message AS (
    INSERT INTO guestcomms.messages (tenant_id, message_id, sent_at, guest_id, thread_id, campaign_id,
        direction, channel, status, body)
    SELECT %(tenant_id)s, guestcomms.uuid_v7(now()), now(), %(guest_id)s, %(thread_id)s, %(campaign_id)s,
        'outbound', 'sms', 'sent', 'X'
    RETURNING tenant_id, message_id
)
INSERT INTO guestcomms.message_events (tenant_id, event_id, occurred_at, message_id, kind)
SELECT m.tenant_id, guestcomms.uuid_v7(now()), now(), m.message_id, 'delivered' FROM message AS m
"""


@dataclass(frozen=True)
class World:
    store: Store
    tenants: dict[str, UUID]
    inhabitants: dict[str, Inhabitants]
    relations: list[Relation]

    @property
    def with_tenants(self) -> list[Relation]:
        return [relation for relation in self.relations if relation.has_tenant and not relation.is_partition]

    def ids(self, letters: str) -> list[UUID]:
        return [self.tenants[letter] for letter in letters]

    def connect(self, login: str, role: str | None = None, opened: str = "") -> Connection:
        connection = self.store.connect(login)
        if role:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        if opened:
            connection.execute("SELECT guestcomms.use_tenant(%s, true)", self.ids(opened))
        return connection


@contextmanager
def open_world(store: Store) -> Iterator[World]:
    """The logins are the cluster's; they go with the world."""
    inhabitants = populate(store)
    root = store.connect()
    tenants = {"a": store.tenant_a, "b": store.tenant_b, "c": one(root, "SELECT guestcomms.add_tenant('C')")}
    inhabitants["c"] = add_inhabitants(root, tenants["c"], CANARIES["c"])
    root.execute("DELETE FROM guestcomms_internal.warehouse_loads")
    load_warehouse(root)
    for login, letters in MEMBERSHIPS.items():
        root.execute(
            sql.SQL("CREATE ROLE {} LOGIN {} IN ROLE guestcomms_analyst").format(
                *(sql.Identifier(login), sql.SQL("NOINHERIT" if login == "bi_not_inheriting" else "INHERIT"))
            )
        )
        for letter in letters:
            root.execute("SELECT guestcomms.use_tenant(%s, true)", [tenants[letter]])
            root.execute("SELECT guestcomms.add_member(%s)", [login])
    root.execute("RESET guestcomms.context")
    root.execute("GRANT bi_team TO bi_in_team, bi_not_inheriting; GRANT bi_not_inheriting TO bi_behind")
    root.execute("SELECT guestcomms.grant_all_tenants('bi_of_all')")
    for tenant in inhabitants.values():
        root.execute(UNREAD, vars(tenant))
    root.execute("UPDATE guestcomms.tenants SET closed_at = now() WHERE tenant_id = %s", [tenants["c"]])
    bi = [relation for relation in find_relations(root) if relation.schema == "guestcomms_bi"]
    yield World(store, tenants, inhabitants, bi)
    store.database.close()
    with store.connect() as dropping:
        for login in MEMBERSHIPS:
            dropping.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(login)))
