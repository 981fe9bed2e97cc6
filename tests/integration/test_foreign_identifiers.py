"""Functions of applications, called for tenant A with identifiers of tenant B, answer as they do
for identifiers that nobody has, and change nothing of B."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from tests.support.database import Connection
from tests.support.population import CANARY, TABLES, Inhabitants, populate
from tests.support.queries import column, one, told
from tests.support.store import Store

# Calls by function. %(guest_id)s and the like are of B or nobody's, %(own_guest_id)s of A.
CALLS = {
    "use_tenant": ["SELECT use_tenant(%(tenant_id)s)", "SELECT use_tenant(%(tenant_id)s, true)"],
    "add_guest": ["SELECT add_guest('X', email => %(address)s)"],
    "resolve_guest": ["SELECT resolve_guest('email', %(address)s)"],
    "open_thread": [
        "SELECT open_thread('X', %(guest_id)s)",
        "SELECT open_thread('X', %(own_guest_id)s, %(wedding_id)s)",
    ],
    "list_threads": [
        "SELECT * FROM list_threads('all', guest_id => %(guest_id)s)",
        "SELECT * FROM list_threads('all', wedding_id => %(wedding_id)s)",
    ],
    "get_thread": ["SELECT * FROM get_thread(%(thread_id)s, include_archived => true)"],
    "get_inbox_counts": ["SELECT * FROM get_inbox_counts(%(external_id)s)"],
    "mark_read": [
        "SELECT mark_read(%(thread_id)s)",
        "SELECT mark_read(message_ids => ARRAY[%(message_id)s, %(archived_id)s]::uuid[])",
    ],
    "mark_unread": ["SELECT mark_unread(%(thread_id)s)", "SELECT mark_unread(message_ids => ARRAY[%(message_id)s]::uuid[])"],
    "set_thread_status": ["SELECT set_thread_status(%(thread_id)s, 'closed')"],
    "assign_thread": ["SELECT assign_thread(%(thread_id)s, 'X')"],
    "snooze_thread": ["SELECT snooze_thread(%(thread_id)s, now() + interval '1 day')"],
    "record_message": [
        "SELECT record_message(%(guest_id)s, 'inbound', 'sms', 'X')",
        "SELECT record_message(%(own_guest_id)s, 'inbound', 'sms', 'X', thread_id => %(thread_id)s)",
        "SELECT record_message(%(own_guest_id)s, 'inbound', 'sms', 'X', wedding_id => %(wedding_id)s)",
        "SELECT record_message(%(own_guest_id)s, 'outbound', 'sms', 'X', campaign_id => %(campaign_id)s)",
        "SELECT record_message(%(own_guest_id)s, 'inbound', 'sms', 'X', external_id => %(external_id)s)",
    ],
    "record_messages": [
        "SELECT * FROM record_messages(jsonb_build_array(jsonb_build_object('direction', 'inbound',"
        f" 'channel', 'sms', 'body', 'X', {keys})), on_error => '{on_error}')"
        for on_error in ("abort", "skip")
        for keys in (
            "'guest_id', %(guest_id)s",
            "'guest_id', %(own_guest_id)s, 'thread_id', %(thread_id)s",
            "'guest_id', %(own_guest_id)s, 'wedding_id', %(wedding_id)s",
            "'guest_id', %(own_guest_id)s, 'campaign_id', %(campaign_id)s",
            "'guest_id', %(own_guest_id)s, 'external_id', %(external_id)s::text",
        )
    ],
    "record_event": [
        "SELECT record_event(%(message_id)s, 'opened')",
        "SELECT record_event(%(archived_id)s, 'opened')",
        "SELECT record_event(external_id => %(external_id)s, kind => 'opened')",
        "SELECT record_event(%(own_message_id)s, 'opened', event_external_id => %(event_external_id)s)",
    ],
    "record_events": [
        f"SELECT * FROM record_events(jsonb_build_array(jsonb_build_object('kind', 'opened', {keys})), on_error => '{on_error}')"
        for on_error in ("abort", "skip")
        for keys in (
            "'message_id', %(message_id)s",
            "'external_id', %(external_id)s::text",
            "'message_id', %(own_message_id)s, 'event_external_id', %(event_external_id)s::text",
        )
    ],
    "get_guest": ["SELECT * FROM get_guest(%(guest_id)s)"],
    "update_guest": ["SELECT update_guest(%(guest_id)s, display_name => 'X')"],
    "add_guest_address": [
        "SELECT add_guest_address(%(guest_id)s, 'chat', 'X')",
        "SELECT add_guest_address(%(own_guest_id)s, 'email', %(address)s)",
    ],
    **{
        name: [f"SELECT {name}(%(guest_id)s, 'email', %(address)s)", f"SELECT {name}(%(own_guest_id)s, 'email', %(address)s)"]
        for name in ("set_primary_address", "verify_guest_address", "remove_guest_address")
    },
    "list_guest_addresses": ["SELECT * FROM list_guest_addresses(%(guest_id)s)"],
    "update_wedding": ["SELECT update_wedding(%(wedding_id)s, name => 'X')"],
    "list_weddings": ["SELECT * FROM list_weddings(after => %(wedding_id)s)"],
    "add_guest_to_wedding": [
        "SELECT add_guest_to_wedding(%(wedding_id)s, %(own_guest_id)s)",
        "SELECT add_guest_to_wedding(%(own_wedding_id)s, %(guest_id)s)",
    ],
    **{
        name: [f"SELECT {name}(%(wedding_id)s, %(own_guest_id)s{more})", f"SELECT {name}(%(own_wedding_id)s, %(guest_id)s{more})"]
        for name, more in (("set_rsvp", ", 'yes'"), ("remove_guest_from_wedding", ""))
    },
    "list_wedding_guests": [
        "SELECT * FROM list_wedding_guests(%(wedding_id)s)",
        "SELECT * FROM list_wedding_guests(%(own_wedding_id)s, after => %(guest_id)s)",
    ],
    "search_guests": [
        "SELECT * FROM search_guests(%(address)s)",
        "SELECT * FROM search_guests('a', after => %(guest_id)s)",
        "SELECT * FROM search_guests('a', wedding_id => %(wedding_id)s)",
    ],
    "find_duplicate_guests": ["SELECT * FROM find_duplicate_guests(min_score => 0, after => %(guest_id)s)"],
    "dismiss_duplicate": ["SELECT dismiss_duplicate(%(own_guest_id)s, %(guest_id)s)"],
    "merge_guests": [
        "SELECT merge_guests(%(own_guest_id)s, %(guest_id)s)",
        "SELECT merge_guests(%(guest_id)s, %(own_guest_id)s)",
    ],
    "undo_merge": ["SELECT undo_merge(%(guest_id)s)"],
    "list_merges": ["SELECT m.merge_id FROM list_merges(after => %(message_id)s) AS m"],
    "import_guests": [
        f"INSERT INTO import_guest_lines (line) VALUES ('name,email,wedding'), ('X,' || %(address)s || ',' || %(external_id)s);"
        f" SELECT added_count, known_count, duplicates FROM import_guests({parameters})"
        for parameters in ("dry_run => true", "wedding_id => %(wedding_id)s", "on_error => 'abort'")
    ],
    "run_import": [
        f"INSERT INTO import_messages (direction, channel, body, {columns})"
        f" VALUES ('inbound', 'sms', 'X', {values});"
        f" SELECT * FROM run_import(on_error => '{on_error}')"
        for on_error in ("abort", "skip")
        for columns, values in (
            ("guest_id", "%(guest_id)s"),
            ("guest_id, thread_id", "%(own_guest_id)s, %(thread_id)s"),
            ("guest_id, wedding_id", "%(own_guest_id)s, %(wedding_id)s"),
            ("guest_id, campaign_id", "%(own_guest_id)s, %(campaign_id)s"),
            ("guest_id, external_id", "%(own_guest_id)s, %(external_id)s"),
        )
    ],
    "search_messages": [
        "SELECT * FROM search_messages(%(external_id)s)",
        "SELECT * FROM search_messages('', guest_id => %(guest_id)s)",
        "SELECT * FROM search_messages('', thread_id => %(thread_id)s)",
        "SELECT * FROM search_messages('', wedding_id => %(wedding_id)s)",
        "SELECT * FROM search_messages('', campaign_id => %(campaign_id)s)",
        "SELECT message_id FROM search_messages('word', sort => 'recent', after => %(cursor)s)",
        *(
            f"SELECT * FROM search_messages('{field}:' || %(identifier)s)".replace("identifier", f"{kind}_id")
            for field, kind in (
                ("from", "guest"),
                ("guest", "guest"),
                ("in", "thread"),
                ("wedding", "wedding"),
                ("campaign", "campaign"),
            )
        ),
    ],
    **{
        name: [
            f"SELECT * FROM {name}('', guest_id => %(guest_id)s)",
            f"SELECT * FROM {name}('', wedding_id => %(wedding_id)s)",
            f"SELECT * FROM {name}('', campaign_id => %(campaign_id)s)",
            f"SELECT * FROM {name}('in:' || %(thread_id)s)",
        ]
        for name in ("count_matches", "search_facets", "explain_search")
    },
    "save_search": [
        f"SELECT save_search('x', '{field}:' || %({kind}_id)s) IS NOT NULL"
        for field, kind in (("from", "guest"), ("in", "thread"), ("wedding", "wedding"), ("campaign", "campaign"))
    ],
    "list_alerts": ["SELECT * FROM list_alerts(is_acknowledged => NULL, after => %(alert_id)s)"],
    "acknowledge_alert": ["SELECT acknowledge_alert(%(alert_id)s)"],
    # Numbers, of what is unread too; the tenant's own beside the other's are what they are alone.
    "get_message_statistics": [
        f"SELECT s.message_count, s.sent, s.opened, s.guest_count FROM get_message_statistics({since}campaigns => {ids}) AS s"
        for since in ("", "since => '1995-01-01', ")
        for ids in ("ARRAY[%(campaign_id)s]", "ARRAY[%(own_campaign_id)s, %(campaign_id)s]")
    ],
    "get_campaign_performance": [
        f"SELECT p.campaign_id, p.campaign, p.message_count, p.sent FROM get_campaign_performance(campaigns => {ids}) AS p"
        for ids in ("ARRAY[%(campaign_id)s]", "ARRAY[%(own_campaign_id)s, %(campaign_id)s]")
    ],
    "get_guest_engagement": [
        "SELECT e.guest_id, e.inbound_count, e.outbound_count, e.last_engaged_at"
        f" FROM get_guest_engagement({ids}, since => '1995-01-01') AS e"
        for ids in ("ARRAY[%(guest_id)s]", "ARRAY[%(own_guest_id)s, %(guest_id)s]")
    ],
    "edit_message": [
        "SELECT edit_message(%(message_id)s, body => 'X')",
        "SELECT edit_message(%(archived_id)s, subject => 'X')",
    ],
    "record_consent": ["SELECT record_consent(%(guest_id)s, 'marketing', false)"],
    "list_consents": ["SELECT * FROM list_consents(%(guest_id)s)"],
    "check_contact_allowed": ["SELECT * FROM check_contact_allowed(%(guest_id)s, 'sms', 'marketing')"],
    "add_attachment": [f"SELECT add_attachment(%({name})s, 'x', 'text/plain', 1)" for name in ("message_id", "archived_id")],
    "list_attachments": [
        "SELECT * FROM list_attachments(%(message_id)s)",
        "SELECT * FROM list_attachments(%(archived_id)s)",
        "SELECT * FROM list_attachments(thread_id => %(thread_id)s)",
        "SELECT * FROM list_attachments(%(own_message_id)s, after => %(attachment_id)s)",
    ],
    "remove_attachment": ["SELECT remove_attachment(%(attachment_id)s)"],
    "list_attachment_removals": ["SELECT * FROM list_attachment_removals(after => %(removal_id)s)"],
    "confirm_attachment_removal": ["SELECT confirm_attachment_removal(ARRAY[%(removal_id)s])"],
    "render_template": [
        "SELECT * FROM render_template('t', %(guest_id)s, 'email')",
        "SELECT * FROM render_template('own', %(own_guest_id)s, 'email', wedding_id => %(wedding_id)s)",
    ],
    "list_templates": ["SELECT * FROM list_templates(after => %(template_id)s)"],
    "annotate_message": [
        f"SELECT annotate_message(%({name})s, 'x', '1', annotator => 'x')" for name in ("message_id", "archived_id")
    ],
    "record_annotations": [
        "SELECT * FROM record_annotations(jsonb_build_array(jsonb_build_object('message_id', %(message_id)s, 'kind', 'x',"
        f" 'value', 1, 'annotator', 'x')), on_error => '{on_error}')"
        for on_error in ("abort", "skip")
    ],
    "list_annotations": [f"SELECT * FROM list_annotations(%({name})s)" for name in ("message_id", "archived_id")],
    **{
        name: [f"SELECT {name}(%({kind})s{more})" for kind in ("message_id", "archived_id")]
        for name, more in (
            ("cancel_message", ""),
            ("reschedule_message", ", now() + interval '1 day'"),
            ("retry_message", ""),
            ("confirm_sent", ", gen_random_uuid()"),
            ("fail_sent", ", gen_random_uuid(), 'timeout'"),
            ("delete_message", ""),
        )
    },
    "list_message_versions": ["SELECT * FROM list_message_versions(%(message_id)s)"],
    "list_send_attempts": ["SELECT * FROM list_send_attempts(%(message_id)s)"],
    "list_queued_messages": ["SELECT * FROM list_queued_messages(after => %(message_id)s)"],
    "list_dead_letters": ["SELECT * FROM list_dead_letters(after => %(message_id)s)"],
    "read_archived": ["SELECT * FROM read_archived(%(archived_id)s)", "SELECT * FROM read_archived(%(message_id)s)"],
    "restore_messages": [
        "SELECT restore_messages(ARRAY[%(archived_id)s])",
        "SELECT restore_messages(guest_id => %(guest_id)s)",
        "SELECT restore_messages(thread_id => %(thread_id)s)",
    ],
    "record_search_click": [
        "SELECT record_search_click(%(query_id)s, %(own_message_id)s, 1)",
        "SELECT record_search_click(%(own_query_id)s, %(message_id)s, 1)",
    ],
}
# Functions that take no identifier of a tenant's, or (use_token) proof of entitlement.
WITHOUT_IDENTIFIERS = {
    "claim_outbound",
    "add_wedding",
    *("current_tenant", "use_token", "uuid_v7", "uuid_v7_time"),
    *("list_settings", "help", "store_capabilities", "list_synonyms"),
    *("suggest_terms", "suggest_corrections", "correct_query", "list_saved_searches", "remove_saved_search"),
    *("record_search", "get_search_quality", "list_zero_result_queries"),
    *("list_opt_out_words", "set_template", "retire_template", "register_annotator", "list_annotators"),
    *("get_response_times", "get_live_statistics", "get_warehouse_status", "visible_tenants"),
}
# One more message of each tenant, which the warehouse has not read.
UNREAD = """
INSERT INTO guestcomms.messages (tenant_id, message_id, sent_at, guest_id, thread_id, campaign_id,
    direction, channel, status, body)
SELECT %(tenant_id)s, guestcomms.uuid_v7(now()), now(), %(guest_id)s, %(thread_id)s, %(campaign_id)s,
    'outbound', 'email', 'sent', 'X'
"""
IDENTIFIERS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Parties:
    own: Inhabitants
    foreign: Inhabitants
    foreign_cursor: str


@pytest.fixture(scope="module")
def parties(store: Store) -> Parties:
    tenants = populate(store)
    with store.connect() as superuser:
        # run_import() would speak of this row too.
        superuser.execute("DELETE FROM guestcomms.import_messages WHERE tenant_id = %s", [store.tenant_a])
        superuser.execute("DELETE FROM guestcomms.import_guest_lines WHERE tenant_id = %s", [store.tenant_a])
        # Of a tenant that is still to be loaded nothing unread is told: here it is.
        superuser.execute("DELETE FROM guestcomms_internal.warehouse_loads")
        for tenant in tenants.values():
            superuser.execute(UNREAD, vars(tenant))
    with store.connect("other_app_login", store.tenant_b) as other:
        cursor = one(other, "SELECT cursor FROM guestcomms.search_messages('word', sort => 'recent')")
    return Parties(tenants["a"], tenants["b"], cursor)


def invent(superuser: Connection, foreign: Inhabitants) -> Inhabitants:
    """Identifiers that nobody has, of the same form and, for a message, of the same moment."""
    word = f"unheard{uuid4().hex}"
    ids: dict[str, Any] = {name: uuid4() for name, value in vars(foreign).items() if isinstance(value, UUID)}
    for name in ("message_id", "archived_id"):
        ids[name] = one(superuser, "SELECT guestcomms.uuid_v7(guestcomms.uuid_v7_time(%s))", getattr(foreign, name))
    texts = {"address": f"{word}@example.com", "external_id": word, "event_external_id": word}
    return replace(foreign, **ids | texts)


def answer(store: Store, call: str, own: Inhabitants, given: Inhabitants, cursor: str) -> tuple[list[str], dict[str, str]]:
    """What tenant A is told, with identifiers replaced: those given by their names, those that the
    call made by a word. And tenant B's rows after the call, which is then taken back."""
    values = {f"own_{name}": value for name, value in vars(own).items()}
    values |= vars(given) | {"cursor": cursor.rstrip("=")}
    with store.connect(autocommit=False) as connection:
        connection.execute("SET search_path = guestcomms")
        connection.execute("SET SESSION AUTHORIZATION app_login")
        connection.execute("SELECT guestcomms.use_tenant(%s)", [own.tenant_id])
        connection.execute("SAVEPOINT before_call")
        try:
            result = connection.execute(psycopg.ClientCursor(connection).mogrify(call, values))
            while result.nextset():
                pass
            said = [str(row) for row in result]
        except psycopg.Error as error:
            said = [str(error.sqlstate), told(error)]
            connection.execute("ROLLBACK TO before_call")
        connection.execute("RESET SESSION AUTHORIZATION")
        rows = rows_of(connection, store.tenant_b)
        connection.rollback()
    for name, value in values.items():
        said = [line.replace(str(value), name) for line in said]
    return [IDENTIFIERS.sub("made", line) for line in said], rows


def rows_of(superuser: Connection, tenant: UUID) -> dict[str, str]:
    """A digest of a tenant's rows in each table that has such."""
    found = {}
    for schema, name, has_tenant in superuser.execute(TABLES).fetchall():
        if has_tenant:
            query = sql.SQL(
                "SELECT md5(string_agg(t::text, E'\\n' ORDER BY t::text)) FROM {} AS t WHERE t.tenant_id = {}"
            ).format(sql.Identifier(schema, name), sql.Literal(tenant))
            ((found[name],),) = superuser.execute(query).fetchall()
    return found


def test_every_function_is_here(store: Store) -> None:
    callable_ = column(
        store.connect(),
        "SELECT DISTINCT p.proname::text FROM pg_proc AS p"
        " WHERE p.pronamespace = 'guestcomms'::regnamespace"
        " AND has_function_privilege('app_login', p.oid, 'EXECUTE')",
    )
    assert set(callable_) == set(CALLS) | WITHOUT_IDENTIFIERS


@pytest.mark.parametrize("call", [call for calls in CALLS.values() for call in calls])
def test_foreign_is_as_unknown(store: Store, parties: Parties, call: str) -> None:
    own, foreign = parties.own, parties.foreign
    with store.connect() as superuser:
        unknown = invent(superuser, foreign)
        before = rows_of(superuser, store.tenant_b)
    said, after = answer(store, call, own, foreign, parties.foreign_cursor)
    assert (said, after) == answer(store, call, own, unknown, parties.foreign_cursor[::-1])
    assert after == before
    assert CANARY["b"] not in "".join(said)


# What a tenant is told of itself, but for the moment that it is of.
NUMBERS = [
    "SELECT to_jsonb(s) - 'as_of' FROM guestcomms.get_message_statistics(since => '1995-01-01') AS s",
    "SELECT to_jsonb(s) - 'as_of' FROM guestcomms.get_response_times(since => '1995-01-01') AS s",
    "SELECT to_jsonb(s) - 'as_of' FROM guestcomms.get_campaign_performance() AS s",
    "SELECT to_jsonb(s) - 'as_of' FROM guestcomms.get_guest_engagement(since => '1995-01-01') AS s",
    "SELECT to_jsonb(s) - '{as_of,period_start}'::text[] FROM guestcomms.get_live_statistics(1440) AS s"
    " WHERE s.period = 'last_minutes'",
    "SELECT to_jsonb(s) - '{as_of,oldest_report}'::text[] FROM guestcomms.get_warehouse_status() AS s",
    "SELECT to_jsonb(t) FROM guestcomms.visible_tenants() AS t",
]


def test_numbers_are_of_ones_own(store: Store, parties: Parties) -> None:
    """What another tenant writes changes none of them, unread or read; what one writes oneself does."""

    def numbers() -> list[list[Any]]:
        with store.connect("app_login", store.tenant_a) as own:
            return [column(own, query.encode()) for query in NUMBERS]

    with store.connect() as superuser:
        before = numbers()
        assert all(before)
        assert not [value for value in vars(parties.foreign).values() if str(value) in str(before)]
        superuser.execute(UNREAD, vars(parties.foreign))
        assert numbers() == before
        assert one(superuser, "SELECT unread_changes FROM guestcomms.get_warehouse_status()") >= 3
        superuser.execute(UNREAD, vars(parties.own))
        changed = [old != new for old, new in zip(before, numbers(), strict=True)]
        assert changed == [True, False, True, True, True, True, False]
