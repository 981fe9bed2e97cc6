"""The tenant's context: a setting that anybody may overwrite opens nothing but what was opened
here, now, by whoever is still entitled to it."""

from __future__ import annotations

import json
import string
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from uuid import UUID, uuid4

import psycopg
import psycopg.sql
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.database import Connection
from tests.support.queries import one, refused, told
from tests.support.store import Store

NO_TENANT = "GC001"
CONTEXT = "SELECT current_setting('guestcomms.context', true)"
KINDS = ["session", "member", "token"]


def is_open(connection: Connection, tenant: UUID) -> bool:
    return bool(one(connection, "SELECT guestcomms.current_tenant()") == tenant)


def put(connection: Connection, context: str, is_local: bool = False) -> None:
    connection.execute("SELECT set_config('guestcomms.context', %s, %s)", [context, is_local])


def enter(store: Store, connection: Connection, kind: str) -> str:
    """Open tenant A in the way given; return the context."""
    if kind == "token":
        with store.connect("issuer_login") as issuer:
            token = one(issuer, "SELECT guestcomms.issue_token(%s)", store.tenant_a)
        one(connection, "SELECT guestcomms.use_token(%s)", token)
    else:
        one(connection, "SELECT guestcomms.use_tenant(%s, %s)", store.tenant_a, kind == "session")
    context: str = one(connection, CONTEXT)
    assert context.split("|")[0] == kind
    return context


@pytest.fixture
def app(store: Store) -> Iterator[Connection]:
    """A login of tenant A, that has opened nothing yet."""
    with store.connect("app_login", autocommit=False) as connection:
        yield connection


def test_nothing_is_open_at_first(app: Connection) -> None:
    with refused(NO_TENANT):
        one(app, "SELECT guestcomms.current_tenant()")


@pytest.mark.parametrize("kind", ["member", "token"])
@pytest.mark.parametrize("is_local", [True, False])
def test_a_saved_value_opens_no_later_transaction(store: Store, app: Connection, kind: str, is_local: bool) -> None:
    context = enter(store, app, kind)
    assert is_open(app, store.tenant_a)
    app.commit()
    assert not one(app, CONTEXT)
    put(app, context, is_local)
    with refused(NO_TENANT):
        one(app, "SELECT guestcomms.current_tenant()")


def test_a_saved_session_value_opens_its_own_connection_only(store: Store, app: Connection) -> None:
    context = enter(store, app, "session")
    app.commit()
    app.execute("RESET guestcomms.context")
    put(app, context)
    assert is_open(app, store.tenant_a)
    with store.connect("app_login") as other:
        put(other, context)
        with refused(NO_TENANT):
            one(other, "SELECT guestcomms.current_tenant()")


@pytest.mark.parametrize(
    ("kind", "login", "role"),
    [
        ("session", "operator_login", "guestcomms_operator"),
        ("member", "operator_login", "guestcomms_operator"),
        ("token", "app_login", "guestcomms_app"),
    ],
)
def test_it_is_for_the_acting_role(store: Store, kind: str, login: str, role: str) -> None:
    """Also where the other role could open the tenant for itself."""
    with store.connect(login, autocommit=False) as connection:
        enter(store, connection, kind)
        connection.execute(f"SET ROLE {role}")
        with refused(NO_TENANT), connection.transaction():
            one(connection, "SELECT guestcomms.current_tenant()")
        connection.execute("RESET ROLE")
        assert is_open(connection, store.tenant_a)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("login", ["other_app_login", "operator_login", "postgres"])
def test_it_is_for_the_login(store: Store, kind: str, login: str) -> None:
    """Also where the other login could open the tenant for itself."""
    with store.connect(autocommit=False) as connection:
        connection.execute("SET SESSION AUTHORIZATION app_login")
        enter(store, connection, kind)
        connection.execute(f"SET SESSION AUTHORIZATION {login}")
        with refused(NO_TENANT):
            one(connection, "SELECT guestcomms.current_tenant()")


def field_changes(context: str) -> st.SearchStrategy[str]:
    """The context with one character replaced, anywhere."""
    return st.integers(0, len(context) - 1).flatmap(
        lambda place: st.sampled_from(sorted({*string.printable} - {context[place]})).map(
            lambda character: context[:place] + character + context[place + 1 :]
        )
    )


@pytest.mark.parametrize("kind", KINDS)
def test_no_character_can_be_changed(store: Store, app: Connection, kind: str) -> None:
    context = enter(store, app, kind)

    @settings(deadline=None, max_examples=200)
    @given(field_changes(context))
    def changed(value: str) -> None:
        put(app, value, True)
        with refused(NO_TENANT), app.transaction():
            one(app, "SELECT guestcomms.current_tenant()")

    changed()
    put(app, context, True)
    assert is_open(app, store.tenant_a)


@pytest.mark.parametrize("kind", KINDS)
def test_no_field_can_be_exchanged(store: Store, app: Connection, kind: str) -> None:
    context = enter(store, app, kind)
    fields = context.split("|")
    later = str(int(float(fields[2])) + 1000)
    exchanged = [
        (place, value)
        for place, values in enumerate([KINDS, [str(store.tenant_b)], [later], ["0" * 64]])
        for value in values
        if value != fields[place]
    ]
    for place, value in exchanged:
        put(app, "|".join([*fields[:place], value, *fields[place + 1 :]]), True)
        with refused(NO_TENANT), app.transaction():
            one(app, "SELECT guestcomms.current_tenant()")


def test_any_text_is_refused_alike(store: Store) -> None:
    with store.connect("app_login") as app:

        @settings(deadline=None)
        @given(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"])))
        def refuses(text: str) -> None:
            put(app, text)
            for query in ("SELECT guestcomms.current_tenant()", "SELECT guestcomms.add_guest()"):
                with refused(NO_TENANT):
                    one(app, query)
            # A default would make a tenant of the second field.
            with refused(NO_TENANT):
                app.execute("INSERT INTO guestcomms.import_messages (body) VALUES ('X')")

        refuses()


def test_an_import_cannot_be_stamped_while_it_runs(store: Store) -> None:
    """The first row sets another context, under which the second is stamped, and which that one
    sets back."""
    forged = f"session|{store.tenant_b}|9999999999|{'0' * 64}"
    with store.connect("app_login", store.tenant_a) as app:
        context = one(app, CONTEXT)
        with refused("42501"):
            app.execute(
                "INSERT INTO guestcomms.import_messages (body, subject)"
                " SELECT 'X', set_config('guestcomms.context', c.value, false)"
                " FROM (VALUES (1, %s), (2, %s)) AS c (place, value) ORDER BY c.place",
                [forged, context],
            )
    with store.connect() as superuser:
        assert one(superuser, "SELECT count(*) FROM guestcomms.import_messages") == 0


@pytest.mark.parametrize("kind", KINDS)
def test_it_expires(store: Store, kind: str) -> None:
    """The superuser, who alone may call what writes a context, writes one that is over."""
    write = "SELECT guestcomms_internal.write_context(%s, %s, make_interval(secs => %s))"
    with store.connect(autocommit=False) as superuser:
        one(superuser, write, kind, store.tenant_a, 60)
        assert is_open(superuser, store.tenant_a)
        one(superuser, write, kind, store.tenant_a, -2)
        with refused(NO_TENANT):
            one(superuser, "SELECT guestcomms.current_tenant()")


def test_a_session_lasts_as_long_as_the_setting_says(store: Store, app: Connection) -> None:
    is_exact = """
        SELECT split_part(current_setting('guestcomms.context'), '|', 3)::numeric
            BETWEEN extract(epoch FROM now()) + %(seconds)s
            AND extract(epoch FROM clock_timestamp()) + %(seconds)s + 1
    """
    with store.connect("operator_login") as operator:
        for value, seconds in (("1 minute", 60), ("2 hours", 7200)):
            operator.execute("SELECT guestcomms.set_setting('context.session_lifetime', %s)", [value])
            app.commit()
            enter(store, app, "session")
            assert app.execute(is_exact, {"seconds": seconds}).fetchone() == (True,)
        operator.execute("SELECT guestcomms.set_setting('context.session_lifetime', NULL)")


def test_a_token_opens_no_longer_than_it_lasts(store: Store, app: Connection) -> None:
    with store.connect("issuer_login") as issuer:
        token = one(issuer, "SELECT guestcomms.issue_token(%s, '1 second')", store.tenant_a)
    try:
        one(app, "SELECT guestcomms.use_token(%s)", token)
    except psycopg.errors.InvalidAuthorizationSpecification:
        return  # the second was over before
    payload = token.split(".")[1]
    expires = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"]
    # A context counts in whole seconds.
    while not one(app, "SELECT clock_timestamp() > to_timestamp(%s)", expires + 1):
        one(app, "SELECT pg_sleep(0.02)")
    with refused(NO_TENANT):
        one(app, "SELECT guestcomms.current_tenant()")


def test_without_its_key_it_opens_nothing(store: Store) -> None:
    with store.connect(autocommit=False) as superuser:
        superuser.execute("DELETE FROM guestcomms_internal.store_secrets WHERE purpose = 'context'")
        put(superuser, f"token|{store.tenant_a}|9999999999", is_local=True)
        with refused(NO_TENANT):
            one(superuser, "SELECT guestcomms.current_tenant()")
        superuser.rollback()


@pytest.mark.parametrize("kind", ["session", "member"])
def test_it_ends_with_membership(store: Store, kind: str, app: Connection) -> None:
    enter(store, app, kind)
    with store.connect("operator_login", store.tenant_a) as operator:
        assert one(operator, "SELECT guestcomms.remove_member('app_login')")
        try:
            with refused(NO_TENANT):
                one(app, "SELECT guestcomms.current_tenant()")
        finally:
            operator.execute("SELECT guestcomms.add_member('app_login')")


@pytest.mark.parametrize("name", ["Ann", "o'neil", 'a "b".c', "-", "42", "é" * 31])
def test_a_member_has_any_name_and_may_be_gone(store: Store, name: str, app: Connection) -> None:
    """The login is a member through a role of that name, until there is no such role."""
    role = psycopg.sql.Identifier(name)
    with store.connect(tenant=store.tenant_b) as superuser:
        superuser.execute(psycopg.sql.SQL("CREATE ROLE {0}; GRANT {0} TO app_login").format(role))
        one(superuser, "SELECT guestcomms.add_member(%s)", name)
        one(app, "SELECT guestcomms.use_tenant(%s)", store.tenant_b)
        assert is_open(app, store.tenant_b)
        app.rollback()
        superuser.execute(psycopg.sql.SQL("DROP ROLE {}").format(role))
        with refused("42501"):
            one(app, "SELECT guestcomms.use_tenant(%s)", store.tenant_b)
        assert one(superuser, "SELECT guestcomms.remove_member(%s)", name)


@pytest.mark.parametrize("kind", ["session", "member"])
def test_it_ends_with_the_tenant(store: Store, kind: str, app: Connection) -> None:
    close = "UPDATE guestcomms.tenants SET closed_at = %s WHERE tenant_id = %s"
    enter(store, app, kind)
    with store.connect() as superuser:
        superuser.execute(close, ["now", store.tenant_a])
        try:
            with refused(NO_TENANT):
                one(app, "SELECT guestcomms.current_tenant()")
            app.rollback()
            with refused("42501"):
                one(app, "SELECT guestcomms.use_tenant(%s)", store.tenant_a)
        finally:
            superuser.execute(close, [None, store.tenant_a])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "setting",
    [
        "TimeZone = 'Asia/Kathmandu'",
        "DateStyle = 'SQL, DMY'",
        "IntervalStyle = 'iso_8601'",
        "extra_float_digits = -15",
        "bytea_output = 'escape'",
        "standard_conforming_strings = off",
        "search_path = pg_temp",
        "client_encoding = 'LATIN1'",
    ],
)
def test_other_settings_do_not_close_it(store: Store, app: Connection, kind: str, setting: str) -> None:
    enter(store, app, kind)
    app.execute(f"SET {setting}")
    assert is_open(app, store.tenant_a)


@pytest.mark.parametrize("kind", KINDS)
def test_it_holds_where_queries_run_in_parallel(store: Store, app: Connection, kind: str) -> None:
    forced = "debug_parallel_query" if app.info.server_version >= 160000 else "force_parallel_mode"
    with store.connect("operator_login", autocommit=False) as operator:
        operator.execute(f"SET {forced} = on")
        for name in ("parallel_setup_cost", "parallel_tuple_cost", "min_parallel_table_scan_size"):
            operator.execute(f"SET {name} = 0")
        one(operator, "SELECT guestcomms.use_tenant(%s, %s)", store.tenant_a, kind == "session")
        assert is_open(operator, store.tenant_a)
        assert one(operator, "SELECT tenant_id FROM guestcomms.tenants") == store.tenant_a
    app.execute(f"SET {forced} = on")
    enter(store, app, kind)
    assert is_open(app, store.tenant_a)


@pytest.mark.parametrize("kind", KINDS)
def test_a_rollback_closes_it(store: Store, app: Connection, kind: str) -> None:
    enter(store, app, kind)
    app.rollback()
    with refused(NO_TENANT):
        one(app, "SELECT guestcomms.current_tenant()")


@pytest.mark.parametrize("kind", KINDS)
def test_a_rollback_to_a_savepoint_takes_it_back(store: Store, app: Connection, kind: str) -> None:
    app.execute("SAVEPOINT before_it")
    context = enter(store, app, kind)
    app.execute("SAVEPOINT after_it")
    app.execute("RESET guestcomms.context")
    app.execute("ROLLBACK TO after_it")
    assert one(app, CONTEXT) == context
    assert is_open(app, store.tenant_a)
    app.execute("ROLLBACK TO before_it")
    with refused(NO_TENANT):
        one(app, "SELECT guestcomms.current_tenant()")


@pytest.mark.parametrize("is_session", [True, False])
def test_an_unknown_tenant_is_refused_as_anothers_is(store: Store, is_session: bool) -> None:
    said = []
    with store.connect("app_login") as app:
        for tenant in (store.tenant_b, uuid4(), None):
            with refused("42501") as caught:
                one(app, "SELECT guestcomms.use_tenant(%s, %s)", tenant, is_session)
            said.append(told(caught.value))
    assert len(set(said)) == 1
