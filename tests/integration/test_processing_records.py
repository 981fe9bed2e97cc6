"""Records of processing: what is said comes from the catalog, the data, the settings and the policies in force."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg.rows import dict_row

from tests.support.exports import ask, manifest_of, opened, read
from tests.support.queries import refused
from tests.support.retention import Business
from tests.support.store import Store

RECORD = """SELECT guestcomms.record_message(%s, 'inbound', 'sms', 'x', source => 'sms-provider', external_id => '1',
    sent_at => now() - interval '300 days')"""
RECORDS = "SELECT * FROM guestcomms.records_of_processing()"


@pytest.fixture
def business(store: Store) -> Iterator[Business]:
    with Business(store, "Rose & Quill") as business:
        yield business


def records(business: Business) -> dict[tuple[str, str], dict[str, Any]]:
    with business.root.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(RECORDS).fetchall()
    assert len(found) > 40
    return {(row["table_name"], row["retention_class"]): row for row in found}


def test_what_the_data_says_and_the_settings_say_better(business: Business) -> None:
    guest = business.guest()
    business.write(guest, business.thread(guest), source="mail-provider", purpose="marketing")
    before = records(business)["guestcomms.messages", "content"]
    assert before["columns"] == ["subject", "body", "metadata", "search"]
    assert (before["controller"], before["data_subjects"]) == ("Rose & Quill", "guests")
    assert "mail-provider" in before["recipients"]
    assert "advertising" in before["purposes"]
    for name in ("controller", "data_protection_officer", "purposes", "recipients", "transfers"):
        business.root.execute("SELECT guestcomms.set_setting(%s, %s)", [f"privacy.{name}", f"the {name}"])
    after = records(business)["guestcomms.messages", "content"]
    for name in ("controller", "data_protection_officer", "purposes", "recipients", "transfers"):
        assert after[name] == f"the {name}"


def test_archived_messages_still_name_who_carried_them(business: Business) -> None:
    guest = business.guest()
    business.root.execute(RECORD, [guest])
    business.policy()
    business.archive()
    assert "sms-provider" in records(business)["guestcomms.archive_segments", "content"]["recipients"]


def test_the_policies_in_force_are_told(business: Business) -> None:
    assert "erased" in records(business)["guestcomms.messages", "content"]["retention"]
    business.keep("one", "content", "2 years")
    business.keep("two", "content", "6 months", counts_from="wedding", channels=["sms"])
    business.keep("off", "content", "1 month", is_enabled=False)
    told = records(business)
    for table in ("messages", "archive_segments", "threads"):
        retention = told[f"guestcomms.{table}", "content"]["retention"]
        assert "2 years" in retention
        assert "6 mons after the wedding (sms)" in retention
        assert "1 mon " not in retention
    # What leaves by itself does so.
    assert told["guestcomms.search_queries", "content"]["retention"] == "30 days"
    assert "as proof" in told["guestcomms.audit_entries", "security"]["retention"]
    export = opened(read(business.root, ask(business.root, business.guest(), formats=["jsonl"])))
    assert "2 years" in str(manifest_of(export)) or any(b"2 years" in content for content in export.values())


def test_protection_is_the_catalogs(business: Business) -> None:
    told = records(business)
    assert "row security is forced" in told["guestcomms.messages", "content"]["security"]
    assert "guestcomms_operator" in told["guestcomms.messages", "content"]["security"]
    assert "guestcomms_app" not in told["guestcomms.messages", "content"]["security"]
    assert "by nobody" in told["guestcomms_internal.export_parts", "content"]["security"]
    assert "row security" not in told["guestcomms.import_messages", "content"]["security"]


def test_each_tenants_own_and_not_for_all(business: Business, store: Store) -> None:
    business.root.execute("SELECT guestcomms.set_setting('privacy.controller', 'ours')")
    with Business(store) as other:
        assert records(other)["guestcomms.messages", "content"]["controller"] != "ours"
    for login in ("privacy_login", "analyst_login"):
        business.root.execute("SELECT guestcomms.add_member(%s)", [login])
    business.connect("privacy_login").execute(RECORDS)
    for login in ("app_login", "analyst_login"):
        with refused("42501"):
            business.connect(login).execute(RECORDS)
