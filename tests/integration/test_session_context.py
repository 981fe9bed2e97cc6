"""A session's context is bound to the connection: a MAC over all but the connection's start opens nothing."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from tests.support.queries import one, refused
from tests.support.store import Store


@pytest.mark.parametrize("has_start", [True, False])
def test_the_start_of_the_connection_counts(store: Store, has_start: bool) -> None:
    root = store.connect()
    secret = one(root, "SELECT secret FROM guestcomms_internal.store_secrets WHERE purpose = 'context'")
    app = store.connect("app_login")
    process = one(app, "SELECT pg_backend_pid()")
    start = one(root, "SELECT extract(epoch FROM backend_start)::text FROM pg_stat_activity WHERE pid = %s", process)
    context = ["session", str(store.tenant_a), "4102444800"]
    fields = [*context, "9", "app_login", "4", "none", str(process), *([start] if has_start else [])]
    mac = hmac.new(bytes(secret), "|".join(fields).encode(), hashlib.sha256).hexdigest()
    app.execute("SELECT set_config('guestcomms.context', %s, false)", ["|".join([*context, mac])])
    if has_start:
        assert one(app, "SELECT guestcomms.current_tenant()") == store.tenant_a
    else:
        with refused("GC001"):
            app.execute("SELECT guestcomms.current_tenant()")


def test_a_dump_holds_no_key(store: Store) -> None:
    """The keys' table is the extension's, and not marked as configuration to be dumped."""
    root = store.connect()
    assert one(
        root,
        "SELECT 'guestcomms_internal.store_secrets'::regclass <> ALL (coalesce(extconfig, '{}')) "
        "FROM pg_extension WHERE extname = 'guestcomms'",
    )
    assert (
        one(root, "SELECT count(*) FROM pg_depend WHERE objid = 'guestcomms_internal.store_secrets'::regclass AND deptype = 'e'")
        == 1
    )


def test_a_new_context_key_closes_every_tenant(store: Store) -> None:
    app = store.connect("app_login", store.tenant_a)
    with store.connect("operator_login") as operator:
        operator.execute("SELECT guestcomms.rotate_context_key()")
    with refused("GC001"):
        app.execute("SELECT guestcomms.current_tenant()")
