"""What jobs call has their rights: row security lets functions of guestcomms_owner see no row without an open tenant."""

from __future__ import annotations

import re

from tests.support.database import Database
from tests.support.queries import rows

FUNCTIONS = """
    SELECT pronamespace::regnamespace::text, proname::text, proowner::regrole::text, prosecdef,
        concat(prosrc, pg_get_function_sqlbody(oid))
    FROM pg_proc WHERE pronamespace::regnamespace::text LIKE 'guestcomms%'
"""
CALL = re.compile(r"(guestcomms\w*)\.(\w+)\(")
TABLE = re.compile(r"(FROM|JOIN|UPDATE|INTO)\s+guestcomms")
# Named in hints; asked for what is no tenant's; called where a tenant is open.
OTHERS = {
    *("add_member", "get_erasure_progress", "get_export_progress", "list_archive_runs", "list_erasure_receipt", "list_holds"),
    *("list_settings", "request_job", "take_quota"),
}


def test_the_engine_calls_no_function_that_needs_a_tenant(db: Database) -> None:
    found = {(schema, name): rest for schema, name, *rest in rows(db.connect(), FUNCTIONS)}
    wrong = {
        f"{name} calls {called}"
        for (_, name), (owner, _, source) in found.items()
        if owner == "guestcomms_engine"
        for schema, called in CALL.findall(source)
        if (schema, called) in found
        and found[schema, called][:2] == ["guestcomms_owner", True]
        and TABLE.search(found[schema, called][2])
        and called not in OTHERS
    }
    assert wrong == set()
