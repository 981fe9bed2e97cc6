"""The example in every function's COMMENT, which help() and the reference show, runs in a store that has what it speaks of."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg
import pytest

from tests.support.database import Connection, Database
from tests.support.queries import rows
from tools.cluster import Cluster

# The tenant, guest, role and identifiers that the examples name.
TENANT = "6f9c0c3e-0d1f-4a53-9d2b-2f1d8d1f6a11"
GUEST = "7d3b2c1a-5f0e-4b8e-9a51-0c2f4d6e8a10"
MEMBER = "rose_and_quill_app"
READER = "metabase"
EXAMPLES = "SELECT function, example FROM guestcomms.help()"
SETUP = f"""
INSERT INTO guestcomms.tenants (tenant_id, name, timezone, language, region)
VALUES ('{TENANT}', 'Rose & Quill', 'Europe/London', 'en', 'GB');
SELECT guestcomms.use_tenant('{TENANT}', true);
INSERT INTO guestcomms.guests (tenant_id, guest_id, display_name) VALUES ('{TENANT}', '{GUEST}', 'Yusuf');
SELECT guestcomms.record_message('{GUEST}', 'outbound', 'email', 'The vegetarian menu',
    source => 'mail-provider', external_id => 'm-77');
"""
ADD_CONSUMER = "SELECT guestcomms.add_consumer('my_export');"
SET_TEMPLATE = "SELECT guestcomms.set_template('rsvp', 'email', 'en', body => 'Dear {{guest.name}}, {{link}}');"
REMOVE_CONSUMER = "SELECT guestcomms.remove_consumer('my_export');"
# The first read says that the consumer must be built; COMMIT ends the transaction that a string of statements is.
BUILD_CONSUMER = "COMMIT; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT guestcomms.read_changes('my_export'); COMMIT;"

# What comes before and after an example, where it needs more than the store above.
BEFORE = {"read_changes": ADD_CONSUMER + BUILD_CONSUMER, "remove_consumer": ADD_CONSUMER, "render_template": SET_TEMPLATE}
AFTER = {
    "add_consumer": REMOVE_CONSUMER,
    "read_changes": REMOVE_CONSUMER,
    "rotate_context_key": f"SELECT guestcomms.use_tenant('{TENANT}', true);",
}

# Examples that are right and fail here.
REFUSED = {
    "create_store": ("42710", "the store is there already"),
    "use_token": ("28000", "a whole token would not fit"),
    "edit_message": ("23503", "no message has the identifier"),
    "add_attachment": ("23503", "no message has the identifier"),
    "annotate_message": ("23503", "no message has the identifier"),
    "import_export": ("XX001", "a whole export would not fit"),
}
# pg_cron has to be there: tests/integration/test_cron.py.
NEEDS_CRON = {"schedule_jobs", "unschedule_jobs"}


@pytest.fixture(scope="module")
def superuser(cluster: Cluster, db: Database) -> Iterator[Connection]:
    """A superuser who has the tenant open."""
    cluster.psql(f"CREATE ROLE {MEMBER} LOGIN IN ROLE guestcomms_app; CREATE ROLE {READER} LOGIN;")
    with db.connect() as connection:
        connection.execute(SETUP)
        yield connection
    cluster.psql(f"DROP ROLE {MEMBER}; DROP ROLE {READER};")


def attempt(connection: Connection, function: str, example: str) -> str | None:
    """What went wrong, if anything did."""
    connection.execute(BEFORE.get(function, "SELECT"))
    try:
        connection.execute(example)
    except psycopg.Error as error:
        connection.rollback()
        if REFUSED.get(function, (None,))[0] == error.sqlstate:
            return None
        return f"{error.sqlstate} {error}"
    finally:
        connection.execute(AFTER.get(function, "SELECT"))
    return f"was to fail with {REFUSED[function]}" if function in REFUSED else None


def test_examples_run(superuser: Connection) -> None:
    examples: dict[str, str] = dict(rows(superuser, EXAMPLES))
    assert {*BEFORE, *AFTER, *REFUSED, *NEEDS_CRON} <= set(examples)
    problems = {
        function: problem
        for function, example in examples.items()
        if function not in NEEDS_CRON and (problem := attempt(superuser, function, example))
    }
    assert problems == {}


def test_examples_call_their_function(superuser: Connection) -> None:
    examples = rows(superuser, EXAMPLES)
    assert [function for function, example in examples if not re.search(rf"\bguestcomms\.{function}\(", example)] == []
