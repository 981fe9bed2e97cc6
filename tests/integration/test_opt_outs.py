"""STOP and START: recorded in the message's own transaction, in any of the languages, once, by the time at which they were
said; and nothing else is taken for one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.support.archive import Archive
from tests.support.database import Connection
from tests.support.queries import column, copy_rows, one, refused, rows
from tests.support.store import Store
from tests.support.traffic import message, now, record, record_all
from tests.support.waiting import wait_until_waiting

EXAMPLES = int(os.environ.get("GUESTCOMMS_EXAMPLES", "30"))
CHECK = "SELECT (guestcomms.check_contact_allowed(%s, %s, 'marketing')).reason IS DISTINCT FROM 'objection'"
WORDS = "SELECT channel, purpose, is_granted FROM guestcomms.list_consents(%s) ORDER BY recorded_at, purpose, is_granted"
# As guests type them.
STOPS = {
    "en": ["STOP", "stop", " Stop. ", "«Unsubscribe!»", "opt-out", "STOP 🛑", "S\u200btop", "   Stop   "],
    "de": ["Stopp!", "ABMELDEN", "Keine Werbung."],
    "fr": ["ARRÊT", "Arret", "Me désabonner", "DÉSINSCRIRE"],
    "es": ["BAJA", "Darme de baja", "¡PARAR!"],
    "it": ["Basta!", "Disiscrivimi"],
    "nl": ["Afmelden", "UITSCHRIJVEN"],
    "pt": ["Sair", "PARAR", "Cancelar inscrição"],
    "pl": ["Rezygnuję", "wypisz mnie"],
    "tr": ["İPTAL", "DUR", "Listeden çık"],  # noqa: RUF001
    "el": ["ΔΙΑΓΡΑΦΉ", "σταμάτα"],
    "ru": ["СТОП", "Отписаться"],
    "uk": ["Відписатися"],
    "ar": ["إلغاء الاشتراك", "توقّف"],
    "he": ["הסר", "להסרה!"],
    "zh": ["退订", "取消訂閱。"],
    "ja": ["配信停止", "ｽﾄｯﾌﾟ"],
    "ko": ["수신거부", "수신 거부"],
    "sv": ["Avanmäl"],
    "hi": ["बंद करें"],
    "th": ["หยุด"],
}
STARTS = {
    "en": ["START", "Unstop."],
    "fr": ["Démarrer"],
    "es": ["darme de alta"],
    "ru": ["СТАРТ"],  # noqa: RUF001
    "ar": ["ابدأ"],
    "zh": ["开始"],
    "ja": ["再開"],
}
INNOCENT = [
    *(
        "please stop by at six",
        "We'll stop at the church",
        "Stop? No, go on!",
        "Where does it start?",
        "The end of May",
        "unsubscribed",
    ),
    *(
        "Yes",
        "Ja",
        "alto",
        "Anmelden",
        "Đúng",
        "Huy",
        "Rot",
        "alta",
        "取消",
        "",
        "...",
        "🛑",
        "s t o p",
        "stop\nThanks, Zoë",
        "red",
    ),
]


@pytest.fixture
def office(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        yield archive


@pytest.fixture
def app(office: Archive) -> Connection:
    return office.connect("app_login")


def is_open(connection: Connection, guest: UUID, channel: str = "whatsapp") -> bool:
    found: bool = one(connection, CHECK, guest, channel)
    return found


def cases(words: dict[str, list[str]]) -> list[str]:
    return [word for said in words.values() for word in said]


def test_a_stop_in_any_language_is_an_objection_and_a_start_lifts_it(office: Archive, app: Connection) -> None:
    guests = {word: office.guest() for word in cases(STOPS) + cases(STARTS)}
    record_all(app, [message(guests[word], channel="whatsapp", body=word) for word in cases(STOPS)])
    assert [word for word in cases(STOPS) if is_open(app, guests[word])] == []
    assert rows(app, WORDS, guests["BAJA"]) == [("whatsapp", "marketing", False)]
    assert is_open(app, guests["BAJA"], "sms")
    record_all(app, [message(guests[word], channel="whatsapp", body="stop") for word in cases(STARTS)])
    assert [word for word in cases(STARTS) if is_open(app, guests[word])] == []
    record_all(app, [message(guests[word], channel="whatsapp", body=word) for word in cases(STARTS)])
    assert [word for word in cases(STARTS) if not is_open(app, guests[word])] == []


def test_what_only_looks_like_a_stop_does_nothing(office: Archive, app: Connection) -> None:
    guest = office.guest()
    record_all(app, [message(guest, channel=channel, body=body) for channel in ("sms", "chat") for body in INNOCENT])
    record(app, guest, body="STOP", direction="outbound")
    record(app, guest, body="STOP", channel="email")
    assert rows(app, WORDS, guest) == []


def test_the_objection_is_of_the_messages_transaction(office: Archive) -> None:
    guest = office.guest()
    with office.connect("app_login", autocommit=False) as app:
        record(app, guest, body="STOP", channel="whatsapp")
        assert not is_open(app, guest)
        assert is_open(office.root, guest)
        app.rollback()
        app.execute("SELECT guestcomms.use_tenant(%s)", [office.tenant])
        assert is_open(app, guest)
        record(app, guest, body="STOP", channel="whatsapp")
        with refused("GC003"):
            record_all(app, [message(guest, channel="whatsapp", direction="outbound", purpose="marketing")])


def test_a_stop_by_sms_ends_every_sms_unless_the_setting_says_otherwise(office: Archive, app: Connection) -> None:
    first, second = office.guest(), office.guest()
    record(app, first, body="STOP")
    assert rows(app, WORDS, first) == [("sms", "marketing", False), ("sms", "service", False)]
    record(app, first, body="START")
    assert rows(app, WORDS, first)[2:] == [("sms", "marketing", True), ("sms", "service", True)]
    office.root.execute("SELECT guestcomms.set_setting('consent.stop_ends_all_sms', 'false')")
    record(app, second, body="STOP")
    assert rows(app, WORDS, second) == [("sms", "marketing", False)]


def test_repeats_add_nothing(office: Archive, app: Connection) -> None:
    guest = office.guest()
    earlier = str(now() - timedelta(days=30))
    for _ in range(2):
        record(app, guest, body="STOP", channel="chat", external_id="s-1")
        record(app, guest, body="stop!", channel="chat", sent_at=earlier)
    assert rows(app, WORDS, guest) == [("chat", "marketing", False)] * 2


def test_history_counts_by_when_it_was_said_whatever_order_it_comes_in(office: Archive, app: Connection) -> None:
    later, earlier = office.guest(), office.guest()
    said = {days: str(now() - timedelta(days=days)) for days in (1, 2, 3)}
    record(app, later, body="START", channel="chat", sent_at=said[1])
    record(app, later, body="STOP", channel="chat", sent_at=said[2])
    assert is_open(app, later, "chat")
    stage = "COPY guestcomms.import_messages (guest_id, direction, channel, body, sent_at) FROM STDIN"
    said_by = [(earlier, "inbound", "chat", body, said[days]) for body, days in (("START", 2), ("STOP", 1), ("STOP", 3))]
    copy_rows(app, stage, said_by)
    one(app, "SELECT imported_count FROM guestcomms.run_import()")
    assert not is_open(app, earlier, "chat")
    assert [granted for _, _, granted in rows(app, WORDS, earlier)] == [False, True, False]
    assert column(app, "SELECT recorded_at FROM guestcomms.list_consents(%s)", earlier) == [
        datetime.fromisoformat(said[days]) for days in (1, 2, 3)
    ]


def test_one_of_the_future_is_of_now(office: Archive, app: Connection) -> None:
    guest = office.guest()
    record(app, guest, body="STOP", channel="chat", sent_at=str(now() + timedelta(days=20)))
    record(app, guest, body="START", channel="chat", sent_at=str(now() + timedelta(minutes=1)))
    assert is_open(app, guest, "chat")


def test_any_order_ends_as_the_last_said(office: Archive, app: Connection) -> None:
    @settings(max_examples=EXAMPLES, deadline=None)
    @given(st.permutations(range(6)), st.lists(st.booleans(), min_size=6, max_size=6), st.integers(1, 6))
    def check(order: list[int], stops: list[bool], chunk: int) -> None:
        guest = office.guest()
        at = now() - timedelta(hours=1)
        said = [
            message(guest, channel="chat", body="STOP" if stops[place] else "START", sent_at=str(at + timedelta(minutes=place)))
            for place in order
        ]
        for first in range(0, len(said), chunk):
            record_all(app, said[first : first + chunk])
        assert is_open(app, guest, "chat") != stops[-1]

    check()


def test_concurrent_stops_and_starts_of_one_guest(office: Archive) -> None:
    guest = office.guest()
    at = now() - timedelta(hours=1)
    sessions = [office.connect("app_login") for _ in range(4)]

    def say(number: int) -> None:
        for place in range(number, 40, 4):
            body = "STOP" if place % 2 else "START"
            record(sessions[number], guest, body=body, channel="chat", sent_at=str(at + timedelta(minutes=place)))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(say, range(4)))
    assert not is_open(office.root, guest, "chat")


def test_a_tenants_own_words(store: Store, office: Archive, app: Connection) -> None:
    guest = office.guest()
    with store.connect("other_app_login", store.tenant_b) as other:
        stranger = one(other, "SELECT guestcomms.add_guest()")
        office.root.execute("SELECT guestcomms.set_opt_out_words('{Genug!,start}', '{Bin wieder da}')")
        record(other, stranger, body="genug", channel="chat")
        assert is_open(other, stranger, "chat")
    record(app, guest, body="GENUG", channel="chat")
    assert not is_open(app, guest, "chat")
    record(app, guest, body="bin wieder da...", channel="chat")
    assert is_open(app, guest, "chat")
    # Words of the languages keep their meaning.
    record(app, guest, body="start", channel="chat")
    assert is_open(app, guest, "chat")
    office.root.execute("SELECT guestcomms.set_opt_out_words('{}')")
    record(app, guest, body="genug", channel="chat")
    assert is_open(app, guest, "chat")


@pytest.mark.parametrize("kind", ["unsubscribed", "complained"])
def test_providers_events_are_objections(office: Archive, app: Connection, kind: str) -> None:
    guest, old = office.guest(), office.guest()
    sent = record(app, guest, direction="outbound", channel="email", external_id="e-1")
    event: dict[str, Any] = {"external_id": "e-1", "kind": kind, "event_external_id": f"u-{kind}"}
    for _ in range(2):
        rows(
            app,
            "SELECT * FROM guestcomms.record_events(%s)",
            Jsonb([event, event | {"kind": "opened", "event_external_id": "o"}]),
        )
    assert rows(app, WORDS, guest) == [("email", "marketing", False)]
    assert not is_open(app, guest, "email")
    assert is_open(app, guest, "sms")
    assert sent is not None
    archived = office.write(old, office.thread(old), direction="outbound", channel="whatsapp", status="sent")
    office.root.execute("SELECT guestcomms.add_archive_policy('old', older_than => '100 days')")
    assert one(office.root, "SELECT message_count FROM guestcomms.run_archive()") == 1
    one(app, "SELECT guestcomms.record_event(%s, %s)", archived, kind)
    assert rows(app, WORDS, old) == [("whatsapp", "marketing", False)]


def test_what_names_a_merged_guest_is_of_the_kept_one(office: Archive, app: Connection) -> None:
    """A message keeps the guest it was sent to; an application may, too."""
    keep, merge = office.guest(), office.guest()
    sent = record(app, merge, direction="outbound", channel="email")
    one(app, "SELECT guestcomms.merge_guests(%s, %s)", keep, merge)
    one(app, "SELECT guestcomms.record_event(%s, 'unsubscribed')", sent)
    one(app, "SELECT guestcomms.record_consent(%s, 'marketing', false, 'sms')", merge)
    record(app, merge, channel="whatsapp", body="STOP")
    for guest in (keep, merge):
        assert {channel for channel, _, _ in rows(app, WORDS, guest)} == {"email", "sms", "whatsapp"}
        assert not any(is_open(app, guest, channel) for channel in ("email", "sms", "whatsapp"))
        assert is_open(app, guest, "chat")


def test_a_stop_that_a_merge_overtakes_is_of_the_kept_guest(office: Archive, app: Connection) -> None:
    keep, merge = office.guest(), office.guest()
    sent = record(app, merge, direction="outbound", channel="email")
    merging = office.connect("app_login", autocommit=False)
    one(merging, "SELECT guestcomms.merge_guests(%s, %s)", keep, merge)
    with ThreadPoolExecutor(1) as pool:
        said = pool.submit(one, app, "SELECT guestcomms.record_event(%s, 'unsubscribed')", sent)
        wait_until_waiting(office.root, app)
        merging.commit()
        said.result(30)
    assert rows(app, WORDS, keep) == [("email", "marketing", False)]
