"""Tokens: JSON Web Tokens that anybody can check, that nobody but the store can make, and that open
one tenant to one role for a time."""

from __future__ import annotations

import hashlib
import hmac
import json
import string
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.database import Connection, Database, fresh_database
from tests.support.queries import one, refused, rows
from tests.support.store import Store, create_tenants

REFUSED = "28000"
BOUNDS = "22023"
DENIED = "42501"
NEWEST_KEY = (
    "SELECT key_id, secret FROM guestcomms_internal.store_secrets WHERE purpose = 'token' ORDER BY created_at DESC LIMIT 1"
)


def encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(part: str) -> bytes:
    return b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)


def sign(signed: str, secret: bytes) -> str:
    return f"{signed}.{encode(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = json.loads(decode(token.split(".")[1]))
    return claims


def make(store: Store, header: object = None, **changes: object) -> str:
    """A token signed with the store's own key, its claims those of an issued one with changes."""
    with store.connect() as superuser:
        ((key_id, secret),) = rows(superuser, NEWEST_KEY)
    claims = claims_of(issue(store)) | changes
    if header is None:
        header = {"alg": "HS256", "typ": "JWT", "kid": key_id}
    parts = [encode(json.dumps(part).encode()) for part in (header, claims)]
    return sign(".".join(parts), secret)


def issue(store: Store, tenant: UUID | None = None, **values: object) -> str:
    values = {"role_name": "guestcomms_app", "valid_for": "5 minutes"} | values
    with store.connect("issuer_login") as issuer:
        token: str = one(
            issuer,
            "SELECT guestcomms.issue_token(%s, role_name => %s, valid_for => %s)",
            *(tenant or store.tenant_a, values["role_name"], values["valid_for"]),
        )
    return token


def use(connection: Connection, token: str | None) -> UUID:
    """Present a token; the tenant that is then open."""
    with connection.transaction():
        given_back: UUID = one(connection, "SELECT guestcomms.use_token(%s)", token)
        assert one(connection, "SELECT guestcomms.current_tenant()") == given_back
    return given_back


@pytest.fixture
def app(store: Store) -> Connection:
    return store.connect("app_login")


def test_a_token_opens_its_tenant(store: Store, app: Connection) -> None:
    """Also one that the login is no member of: the token is the entitlement."""
    assert use(app, issue(store)) == store.tenant_a
    assert use(app, issue(store, store.tenant_b)) == store.tenant_b
    assert use(app, make(store)) == store.tenant_a


def test_it_is_a_json_web_token(store: Store) -> None:
    token = issue(store, valid_for="90 seconds")
    header, claims, signature = token.split(".")
    with store.connect() as superuser:
        ((key_id, secret),) = rows(superuser, NEWEST_KEY)
        audience = one(superuser, "SELECT guestcomms_internal.token_audience()")
    assert hmac.compare_digest(decode(signature), hmac.new(secret, f"{header}.{claims}".encode(), hashlib.sha256).digest())
    assert json.loads(decode(header)) == {"alg": "HS256", "typ": "JWT", "kid": key_id}
    found = claims_of(token)
    assert found["exp"] - found.pop("iat") == 90
    assert UUID(found.pop("jti")).version == 4
    del found["exp"]
    assert found == {"aud": audience, "tenant": str(store.tenant_a), "role": "guestcomms_app"}


def test_no_two_are_alike(store: Store) -> None:
    assert claims_of(issue(store))["jti"] != claims_of(issue(store))["jti"]


def test_no_character_can_be_changed(store: Store, app: Connection) -> None:
    token = issue(store)
    changes = st.tuples(
        st.integers(0, len(token) - 1),
        st.sampled_from(string.ascii_letters + string.digits + "-_."),
    ).filter(lambda change: token[change[0]] != change[1])

    @settings(deadline=None, max_examples=300)
    @given(changes)
    def changed(change: tuple[int, str]) -> None:
        place, character = change
        with refused(REFUSED):
            use(app, token[:place] + character + token[place + 1 :])

    changed()
    for character in string.ascii_letters + string.digits:  # where two bits mean nothing
        if character != token[-1]:
            with refused(REFUSED):
                use(app, token[:-1] + character)
    assert use(app, token) == store.tenant_a


@pytest.mark.parametrize("part", [0, 1, 2])
def test_no_part_can_be_that_of_another(store: Store, app: Connection, part: int) -> None:
    one_token, other = issue(store), issue(store, store.tenant_b)
    if part == 0:  # both have the same
        one(store.connect(), "SELECT guestcomms.rotate_token_key()")
        other = issue(store)
    mixed = one_token.split(".")
    mixed[part] = other.split(".")[part]
    with refused(REFUSED):
        use(app, ".".join(mixed))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def test_any_header_is_refused_alike(store: Store, app: Connection) -> None:
    """Headers are read before the signature is checked."""

    @settings(deadline=None, max_examples=200)
    @given(JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=50))
    def refuses(header: bytes) -> None:
        with refused(REFUSED):
            use(app, f"{encode(header)}.{encode(b'{}')}.{encode(bytes(32))}")

    refuses()
    for header in (b'{"kid": 1e999999}', b'"\\u0000"', b'"\\ud800"', b"[" * 2000, b"\xff", b"\0"):
        with refused(REFUSED):
            use(app, f"{encode(header)}.{encode(b'{}')}.{encode(bytes(32))}")


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "HS512"},
        {"alg": "hs256"},
        {"alg": None},
        {"alg": ["HS256"]},
        {"kid": None},
        {"kid": "unknown"},
    ],
)
def test_no_other_algorithm_or_key(store: Store, app: Connection, header: dict[str, object]) -> None:
    kid = one(store.connect(), NEWEST_KEY)
    whole = {"alg": "HS256", "typ": "JWT", "kid": kid} | header
    for value in (whole, {name: part for name, part in whole.items() if part is not None}):
        token = make(store, value)
        with refused(REFUSED):
            use(app, token)
        with refused(REFUSED):  # as libraries write "none"
            use(app, token.rpartition(".")[0] + ".")


def test_the_key_of_contexts_signs_no_token(store: Store, app: Connection) -> None:
    ((key_id, secret),) = rows(
        store.connect(),
        "SELECT key_id, secret FROM guestcomms_internal.store_secrets WHERE purpose = 'context'",
    )
    signed = make(store, {"alg": "HS256", "typ": "JWT", "kid": key_id}).rpartition(".")[0]
    with refused(REFUSED):
        use(app, sign(signed, secret))


def test_no_hs512_signature(store: Store, app: Connection) -> None:
    signed = make(store).rpartition(".")[0]
    ((_, secret),) = rows(store.connect(), NEWEST_KEY)
    digest = hmac.new(secret, signed.encode(), hashlib.sha512).digest()
    for signature in (digest, digest[:32]):
        with refused(REFUSED):
            use(app, f"{signed}.{encode(signature)}")


@pytest.mark.parametrize("token", [None, "", ".", "..", "...", "a.b", "a.b.c", "ü.ü.ü"])
def test_what_is_no_token(app: Connection, token: str | None) -> None:
    with refused(REFUSED):
        use(app, token)


def test_a_token_expires(store: Store, app: Connection) -> None:
    now = claims_of(issue(store))["iat"]
    assert use(app, make(store, exp=now + 60)) == store.tenant_a
    for seconds in (0, 1, 3600):
        with refused(REFUSED):
            use(app, make(store, exp=now - seconds))


def test_it_is_for_one_audience(store: Store, app: Connection) -> None:
    for audience in ("", "0" * 64, None):
        with refused(REFUSED):
            use(app, make(store, aud=audience))


@pytest.mark.parametrize("role", ["guestcomms_privacy", "guestcomms_analyst", "guestcomms_app"])
def test_it_is_for_one_role(store: Store, role: str) -> None:
    token = issue(store, role_name=role)
    for login in ("app_login", "privacy_login", "analyst_login", "operator_login"):
        with store.connect(login) as connection:
            if role == f"guestcomms_{login.removesuffix('_login')}":
                assert use(connection, token) == store.tenant_a
            else:
                with refused(REFUSED):
                    use(connection, token)


@pytest.mark.parametrize(
    "role",
    ["guestcomms_operator", "guestcomms_owner", "guestcomms_engine", "postgres", "app_login", None],
)
def test_none_is_issued_for_other_roles(store: Store, role: str | None) -> None:
    with refused(BOUNDS):
        issue(store, role_name=role)


@pytest.mark.parametrize("valid_for", ["0", "-1 second", "1 day 00:00:00.000001", "1 month", None])
def test_the_bounds_of_its_life(store: Store, valid_for: str | None) -> None:
    with refused(BOUNDS):
        issue(store, valid_for=valid_for)


def test_its_longest_life_is_a_setting(store: Store) -> None:
    change = "SELECT guestcomms.set_setting('token.max_lifetime', %s)"
    assert issue(store, valid_for="1 day")
    with store.connect("operator_login") as operator:
        operator.execute(change, ["10 minutes"])
        assert issue(store, valid_for="10 minutes")
        with refused(BOUNDS):
            issue(store, valid_for="11 minutes")
        operator.execute(change, [None])


def test_who_may_issue_and_rotate(store: Store) -> None:
    who = {"issue": set(), "rotate": set()}  # type: dict[str, set[str]]
    logins = ["app", "other_app", "analyst", "privacy", "operator", "issuer", "nobody"]
    for name in logins:
        with store.connect(f"{name}_login") as connection:
            for act, query in (
                ("issue", "SELECT guestcomms.issue_token(%s)"),
                ("rotate", "SELECT guestcomms.rotate_token_key() WHERE %s::uuid IS NOT NULL"),
            ):
                try:
                    one(connection, query, store.tenant_a)
                    who[act].add(name)
                except psycopg.errors.InsufficientPrivilege:
                    pass
    assert who == {"issue": {"issuer", "operator"}, "rotate": {"operator"}}


def test_a_key_is_accepted_until_its_overlap_ends(store: Store, app: Connection) -> None:
    rotate = "SELECT guestcomms.rotate_token_key(%s)"
    with store.connect("operator_login") as operator:
        first = issue(store)
        one(operator, rotate, "1 hour")
        second = issue(store)
        assert use(app, first) == use(app, second) == store.tenant_a
        one(operator, rotate, "0")
        for token in (first, second):
            with refused(REFUSED):
                use(app, token)
        third = issue(store)
        one(operator, rotate, "1 hour")
        assert use(app, third) == store.tenant_a
        with refused(REFUSED):  # a later overlap brings no key back
            use(app, first)
        with refused(BOUNDS):
            one(operator, rotate, "-1 second")


def test_a_closed_tenant_is_not_opened(store: Store, app: Connection) -> None:
    close = "UPDATE guestcomms.tenants SET closed_at = %s WHERE tenant_id = %s"
    token = issue(store)
    with store.connect() as superuser:
        superuser.execute(close, ["now", store.tenant_a])
        try:
            with refused(REFUSED):
                use(app, token)
            with refused(BOUNDS):
                issue(store)
        finally:
            superuser.execute(close, [None, store.tenant_a])


def test_an_unknown_tenant_has_none(store: Store) -> None:
    with refused(BOUNDS):
        issue(store, UUID(int=1))


def test_another_store_has_other_keys(store: Store, app: Connection, new_database: Callable[[], Database], logins: None) -> None:
    """Same key id, same tenant; the secret differs."""
    other = create_tenants(new_database())
    with other.connect() as superuser:
        superuser.execute(
            "UPDATE guestcomms_internal.store_secrets SET secret = %s WHERE purpose = 'token'",
            [bytes(32)],
        )
        superuser.execute("UPDATE guestcomms_internal.store_identity SET store_id = %s", [UUID(int=7)])
    token = issue(other)
    assert use(other.connect("app_login"), token) == other.tenant_a
    with refused(REFUSED):
        use(app, token)


def test_a_restored_copy_takes_no_token_of_before(new_database: Callable[[], Database], logins: None) -> None:
    """The copy has the same store id, keys, tenants and members."""
    original = create_tenants(new_database())
    token = issue(original)
    assert use(original.connect("app_login"), token) == original.tenant_a
    original.database.close()
    with fresh_database(original.database.cluster, original.database.name) as database:
        copy = Store(database, original.tenant_a, original.tenant_b)
        app = copy.connect("app_login")
        assert rows(copy.connect(), NEWEST_KEY) == rows(original.connect(), NEWEST_KEY)
        with refused(REFUSED):
            use(app, token)
        with refused("55000"):
            use(app, issue(copy))
        assert one(copy.connect(), "SELECT is_complete FROM guestcomms.replay_erasures()")
        assert use(app, issue(copy)) == original.tenant_a
