"""The isolation matrix: every role, every way in, every table, partition and view, every statement.

RULES says what is allowed; what no rule fits must be denied. Each statement meets rows of both
tenants, and the word that only tenant B's guests use must not be in anything that A is told."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import pytest

from tests.support.database import Connection
from tests.support.population import CANARY, Inhabitants, fill_partitions, populate
from tests.support.probe import (
    ALL,
    DENIED,
    DONE,
    NO_TABLE,
    NO_TENANT,
    NOT_UPDATABLE,
    NOTHING,
    OWN,
    REFUSED,
    Probe,
    Relation,
    Row,
    find_relations,
    row_of,
)
from tests.support.store import Store

NEVER = "none"  # the way in of who does not come in
OPEN = "session transaction token"
ANY = f"{NEVER} {OPEN}"


@dataclass(frozen=True)
class Actor:
    """A login, the role it has SET, the tenant it works for, the ways in that it has."""

    login: str
    tenant: str = "a"
    ways: str = ANY
    role: str | None = None
    token_role: str = "guestcomms_app"


ACTORS = {
    "app": Actor("app_login"),
    "other app": Actor("other_app_login", tenant="b"),
    "analyst": Actor("analyst_login", token_role="guestcomms_analyst"),
    "privacy": Actor("privacy_login", token_role="guestcomms_privacy"),
    "operator": Actor("operator_login", ways="none session transaction"),
    "operator who SET ROLE": Actor("operator_login", ways="none session transaction", role="guestcomms_operator"),
    "issuer": Actor("issuer_login", ways=NEVER),
    "nobody": Actor("nobody_login", ways=NEVER),
    # Functions run as the owner; here it comes as a member, so that only the policies hold it back.
    "owner": Actor("postgres", ways="none session transaction", role="guestcomms_owner"),
}
MEMBERS = ["analyst_login", "privacy_login", "guestcomms_owner"]

# Tables that operators may load, others of the tenants', those whose rows belong to no tenant. Of the internal tables
# those with tenants' rows are "hidden".
KINDS = {
    "loaded": "weddings guests wedding_guests guest_addresses consents campaigns message_templates"
    " threads messages message_events message_versions attachments message_annotations",
    "records": "audit_contents audit_entries audit_heads change_log event_keys message_keys"
    " search_months search_rebuilds search_statistics settings synonyms tenant_languages tenant_members tenants"
    " term_statistics vocabulary spelling_words name_statistics suggestion_prefixes"
    " saved_searches saved_search_words saved_search_anchors search_alerts search_queries search_clicks"
    " archive_policies archive_runs legal_holds archive_dictionaries archive_segments archive_checks"
    " archive_codec_trials archive_predictors subject_requests subject_request_steps exports quota_uses"
    " retention_policies retention_runs tenant_closures tenant_closure_tables attachment_removals"
    " send_attempts message_deletions guest_merges dismissed_duplicates"
    " erasures erasure_receipts erasure_ledger suppressions opt_out_words annotators",
    "store-wide": "consumers jobs job_runs",
    "import": "import_messages import_guest_lines",
}
# What analysts read: tables with tenants' rows are the "star".
BI_KINDS = {
    "calendar": "dim_date dim_time dim_channel",
    "sums": "agg_message_day_all agg_event_day_all",
    "dictionary": "metrics",
    "live": "agg_message_quarter_hour_live agg_event_quarter_hour_live",
    "report": "mv_daily_channels mv_campaign_performance mv_guest_engagement mv_response_times mv_tenant_overview",
}

READ = "select/copy out"
INSERT = "insert a/insert b"
COPY_IN = "copy in a/copy in b"
PAYLOAD = "insert payload/copy in payload"
VIEWS = "report live dictionary"
WRITE = f"update/delete/{INSERT}"
# Who may name what is in guestcomms_bi at all.
INSIDERS = "analyst/operator/operator who SET ROLE/owner"
LOADERS = "app/other app/operator/operator who SET ROLE"
RULES = [
    # actors, ways in, kinds of relation, operations, outcome; the first that fits
    (LOADERS, OPEN, "import", PAYLOAD, DONE),
    (LOADERS, NEVER, "import", PAYLOAD, NO_TENANT),
    ("operator", NEVER, "loaded records", READ, NO_TENANT),
    ("operator", NEVER, "loaded", INSERT, NO_TENANT),
    ("operator", OPEN, "loaded records", READ, OWN),
    ("operator", OPEN, "loaded", "insert a", DONE),
    ("operator", ANY, "loaded", COPY_IN, REFUSED),
    ("operator", ANY, "store-wide", READ, NOTHING),
    ("operator who SET ROLE", ANY, "loaded records store-wide", READ, ALL),
    ("operator who SET ROLE", ANY, "loaded", f"{INSERT}/{COPY_IN}", DONE),
    # Analysts see the tenants that they are members of, or the one that is open.
    ("analyst", ANY, "star report live", READ, OWN),
    (INSIDERS, ANY, "dictionary", READ, ALL),
    ("analyst", ANY, "calendar", READ, ALL),
    # Operators see all tenants, or the one that is open; after SET ROLE no policy holds them.
    ("operator", ANY, "calendar", READ, ALL),
    ("operator", NEVER, "star sums live", READ, ALL),
    ("operator", OPEN, "star live", READ, OWN),
    ("operator", OPEN, "sums", READ, NOTHING),
    ("operator who SET ROLE", ANY, "star sums calendar live", READ, ALL),
    ("operator/operator who SET ROLE", NEVER, "report", READ, ALL),
    ("operator/operator who SET ROLE", OPEN, "report", READ, OWN),
    ("owner", ANY, "star sums calendar", f"{READ}/update/delete", ALL),
    ("owner", ANY, "star sums calendar", INSERT, DONE),
    ("owner", ANY, "star sums calendar", COPY_IN, REFUSED),
    ("owner", ANY, "star sums calendar", "truncate", DONE),
    ("owner", ANY, "report", READ, OWN),
    ("owner", ANY, "live materialized", READ, ALL),
    # What is no table is not written to, and who may not says the server only later.
    (INSIDERS, ANY, VIEWS, WRITE, NOT_UPDATABLE),
    (INSIDERS, ANY, VIEWS, "truncate", NO_TABLE),
    ("operator/operator who SET ROLE/owner", ANY, "materialized", "truncate", NO_TABLE),
    ("owner", ANY, VIEWS, COPY_IN, NO_TABLE),
    ("owner", ANY, "partition template", f"{READ}/update/delete", NOTHING),
    ("owner", ANY, "partition template", COPY_IN, REFUSED),
    ("owner", ANY, "import store-wide internal", f"{READ}/update/delete", ALL),
    ("owner", ANY, "import store-wide internal", INSERT, DONE),
    ("owner", ANY, "import", f"{COPY_IN}/{PAYLOAD}", DONE),
    ("owner", NEVER, "loaded records hidden", f"{READ}/update/delete/{INSERT}", NO_TENANT),
    ("owner", OPEN, "loaded records hidden", f"{READ}/update/delete", OWN),
    ("owner", OPEN, "loaded records hidden", "insert a", DONE),
    ("owner", ANY, "loaded records hidden store-wide internal", COPY_IN, REFUSED),
    (
        "owner",
        ANY,
        "loaded records hidden store-wide internal import partition template",
        "truncate",
        DONE,
    ),
]


def kind_of(relation: Relation) -> str:
    """The word by which RULES speaks of a relation."""
    if relation.is_partition:
        return "partition"
    if relation.name.endswith("_template"):
        return "template"
    if relation.kind == "m":
        return "materialized"
    if relation.schema == "guestcomms_bi":
        listed = next((kind for kind, names in BI_KINDS.items() if relation.name in names.split()), None)
        return listed or ("star" if relation.has_tenant and relation.kind != "v" else "new")
    if relation.schema != "guestcomms":
        return "hidden" if relation.has_tenant else "internal"
    return next((kind for kind, names in KINDS.items() if relation.name in names.split()), "new")


def expected(actor: str, way: str, relation: Relation, operation: str) -> str:
    for actors, ways, kinds, operations, outcome in RULES:
        if (
            actor in actors.split("/")
            and way in ways.split()
            and kind_of(relation) in kinds.split()
            and operation in operations.split("/")
        ):
            return outcome
    return DENIED


@dataclass(frozen=True)
class Populated:
    store: Store
    tenants: dict[str, Inhabitants]
    relations: list[Relation]

    @property
    def names(self) -> dict[str, UUID]:
        return {name: tenant.tenant_id for name, tenant in self.tenants.items()}


@pytest.fixture(scope="module")
def tenants(store: Store) -> dict[str, Inhabitants]:
    tenants = populate(store)
    with store.connect(tenant=store.tenant_a) as superuser:
        for member in MEMBERS:
            superuser.execute("SELECT guestcomms.add_member(%s)", [member])
    return tenants


@pytest.fixture(scope="module", params=["first partitions", "older partitions"])
def populated(request: pytest.FixtureRequest, store: Store, tenants: dict[str, Inhabitants]) -> Populated:
    with store.connect() as superuser:
        if request.param == "older partitions":
            before = len(find_relations(superuser))
            superuser.execute("SELECT guestcomms.ensure_partitions(now() - interval '30 months')")
            assert len(find_relations(superuser)) > before
            fill_partitions(superuser, tenants)
        return Populated(store, tenants, find_relations(superuser))


def enter(store: Store, actor: Actor, way: str) -> Connection:
    """A connection with a transaction open, that came in that way."""
    tenant = {"a": store.tenant_a, "b": store.tenant_b}[actor.tenant]
    connection = store.database.connect(actor.login, autocommit=False)
    if actor.role == "guestcomms_owner":
        # Foreign keys would stop it where row security must.
        connection.execute("SET session_replication_role = replica")
    if actor.role is not None:
        connection.execute(f"SET ROLE {actor.role}")
    if way == "session":
        connection.execute("SELECT guestcomms.use_tenant(%s, true)", [tenant])
    connection.commit()
    if way == "transaction":
        connection.execute("SELECT guestcomms.use_tenant(%s)", [tenant])
    elif way == "token":
        with store.connect("issuer_login") as issuer:
            token = issuer.execute("SELECT guestcomms.issue_token(%s, role_name => %s)", [tenant, actor.token_role]).fetchone()
        connection.execute("SELECT guestcomms.use_token(%s)", token)
    return connection


def rows_to_insert(populated: Populated) -> dict[Relation, dict[str, Row]]:
    """A row of each tenant for each relation, less the canaries: an error may quote what the actor
    gave."""
    with populated.store.connect() as superuser:
        return {
            relation: {name: row_of(superuser, relation, tenant, CANARY[name]) for name, tenant in populated.names.items()}
            for relation in populated.relations
        }


@pytest.mark.parametrize("name", ACTORS)
def test_matrix(populated: Populated, name: str) -> None:
    actor = ACTORS[name]
    rows = rows_to_insert(populated)
    wrong = []
    for way in actor.ways.split():
        with enter(populated.store, actor, way) as connection:
            other = "b" if actor.tenant == "a" else "a"
            probe = Probe(connection, populated.names, actor.tenant, [CANARY[other]])
            for relation in populated.relations:
                for operation, outcome in probe.try_all(relation, rows[relation]).items():
                    wanted = expected(name, way, relation, operation)
                    if outcome != wanted:
                        wrong.append(f"{way}: {operation} {relation}: {outcome}, not {wanted}")
            connection.rollback()
            assert probe.leaks == []
    assert not wrong, "\n".join(wrong)
