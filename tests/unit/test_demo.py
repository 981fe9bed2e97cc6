"""The demonstration's generator: the same for a seed, complete, and plausible in time."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime
from itertools import pairwise
from random import Random

import pytest

from demo import clock
from demo.generate import generate
from demo.model import Dataset, Message
from demo.page import display_width, wrap_wide
from demo.text import Scene, load_books, misspell, parse, polish

UNTIL = datetime(2026, 6, 15, 13, 45, tzinfo=UTC)
COUNT = 6_000
MAIN_LANGUAGES = {"en", "de", "fr", "es"}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return generate(seed=11, until=UNTIL, messages=COUNT)


@pytest.fixture(scope="module")
def messages(dataset: Dataset) -> list[Message]:
    return [message for tenant in dataset.tenants for message in tenant.messages]


def summarise(dataset: Dataset) -> list[tuple[object, ...]]:
    return [
        (tenant.key, message.external_id, message.sent_at, message.guest.name, message.body)
        for tenant in dataset.tenants
        for message in tenant.messages
    ] + [(tenant.key, event.external_id, event.kind, event.occurred_at) for tenant in dataset.tenants for event in tenant.events]


def test_a_seed_and_an_end_give_the_same_dataset(dataset: Dataset) -> None:
    assert summarise(generate(seed=11, until=UNTIL, messages=COUNT)) == summarise(dataset)


def test_another_seed_gives_another_dataset(dataset: Dataset) -> None:
    assert summarise(generate(seed=12, until=UNTIL, messages=COUNT)) != summarise(dataset)


def test_the_end_counts_by_the_hour(dataset: Dataset) -> None:
    assert dataset.until == UNTIL.replace(minute=0)


def test_there_are_at_least_as_many_messages_as_asked_for(dataset: Dataset) -> None:
    assert COUNT <= dataset.message_count < COUNT * 1.05


def test_every_tenant_has_weddings_guests_and_campaigns(dataset: Dataset) -> None:
    assert len(dataset.tenants) == 4
    for tenant in dataset.tenants:
        assert 12 <= len(tenant.weddings) <= 16
        assert len(tenant.guests) > 100
        assert {campaign.purpose for campaign in tenant.campaigns} == {"service", "marketing"}


def test_all_channels_directions_and_languages_are_used(messages: list[Message]) -> None:
    channels = Counter((message.channel, message.direction) for message in messages)
    assert len(channels) == 8
    assert min(channels.values()) > COUNT / 100
    languages = Counter(message.language for message in messages)
    assert {"en", "de", "fr", "es", "it", "nl", "pl", "ar", "zh"} == set(languages)
    assert all(languages[language] > COUNT / 20 for language in MAIN_LANGUAGES)


def test_external_ids_are_unique(dataset: Dataset) -> None:
    for tenant in dataset.tenants:
        assert len({message.external_id for message in tenant.messages}) == len(tenant.messages)
        assert len({event.external_id for event in tenant.events}) == len(tenant.events)


def test_addresses_are_unique_and_reach_nobody(dataset: Dataset) -> None:
    for tenant in dataset.tenants:
        for addresses in (
            [guest.email for guest in tenant.guests if guest.email],
            [guest.phone for guest in tenant.guests if guest.phone],
        ):
            assert len(set(addresses)) == len(addresses)
        hosts = {guest.email.split("@")[1] for guest in tenant.guests if guest.email}
        assert all(host.endswith(("example.com", "example.org", "example.net")) for host in hosts)


def test_messages_lie_in_the_span(dataset: Dataset, messages: list[Message]) -> None:
    assert all(dataset.since <= message.sent_at <= dataset.until for message in messages)


def test_time_goes_forward_within_threads(dataset: Dataset) -> None:
    for tenant in dataset.tenants:
        threads: dict[int, list[Message]] = defaultdict(list)
        for message in tenant.messages:
            threads[message.thread.key].append(message)
        assert set(threads) == {thread.key for thread in tenant.threads}
        for thread in threads.values():
            assert all(before.sent_at < after.sent_at for before, after in pairwise(thread))
            assert len({(message.guest.key, message.thread.guest.key) for message in thread}) == 1


def test_events_follow_their_message_and_do_not_lie_ahead(dataset: Dataset) -> None:
    for tenant in dataset.tenants:
        for event in tenant.events:
            assert event.message.direction == "outbound"
            assert event.message.sent_at <= event.occurred_at <= dataset.until


def test_a_failed_message_is_not_seen_and_an_answered_one_was(dataset: Dataset) -> None:
    for tenant in dataset.tenants:
        kinds: dict[str, set[str]] = defaultdict(set)
        for event in tenant.events:
            kinds[event.message.external_id].add(event.kind)
        for message in tenant.messages:
            found = kinds[message.external_id]
            if found & {"failed", "bounced"}:
                assert found <= {"sent", "failed", "bounced"}
                assert message.status == "failed"
            if "replied" in found and message.channel != "sms":
                assert found & {"opened", "read"}


def test_whoever_unsubscribed_gets_no_more_offers(dataset: Dataset) -> None:
    for tenant in dataset.tenants:
        left = {event.message.guest.key: event.message.sent_at for event in tenant.events if event.kind == "unsubscribed"}
        for message in tenant.messages:
            if message.purpose == "marketing" and message.guest.key in left:
                assert message.sent_at <= left[message.guest.key]


def test_replies_name_the_wedding_of_their_thread(messages: list[Message]) -> None:
    for message in messages:
        if message.wedding:
            assert message.wedding is message.thread.wedding


def test_texts_have_no_holes(messages: list[Message]) -> None:
    for message in messages:
        assert message.body.strip() == message.body
        assert not set("{}[]|") & set(message.body), message.body
        assert "  " not in message.body, message.body
        assert (message.subject is None) == (message.channel != "email")


@pytest.mark.parametrize("language", sorted(load_books()))
def test_every_phrase_of_a_language_can_be_said(language: str) -> None:
    book = load_books()[language]
    wedding = generate(seed=1, until=UNTIL, messages=400).tenants[0].weddings[0]
    values = dict.fromkeys(("partner", "child", "first", "full", "family", "email", "phone"), "X")
    values |= dict.fromkeys(("staff", "other", "greeting", "table"), "X") | book.gender.get("f", {})
    talks = [*book.talks, *(talk for replies in book.replies.values() for talk in replies)]
    templates = [line.template for talk in talks for line in talk.lines if line.language == language]
    templates += [subject for talk in talks for subject in talk.subjects]
    templates += [template for phrases in book.phrases.values() for template in phrases]
    templates += [template for mailing in book.campaigns.values() for part in mailing.values() for template in part]
    for seed in range(3):
        for template in templates:
            scene = Scene(Random(seed), book, values | wedding.values[language])
            assert scene.say(template).strip()


def test_a_fact_stays_what_it_was() -> None:
    scene = Scene(Random(3), load_books()["en"], {})
    assert scene.say("{diet}|{diet.1}") == scene.say("{diet}|{diet.1}")


def test_unbalanced_brackets_are_an_error() -> None:
    with pytest.raises(ValueError, match="unbalanced"):
        parse("[this|that")


def test_polish_puts_capitals_where_sentences_begin() -> None:
    assert polish("yes! ¡gracias! see https://a.example.com") == ("Yes! ¡Gracias! See https://a.example.com")
    assert polish("at 2.30pm. https://a.example.com") == "At 2.30pm. https://a.example.com"


def test_misspelling_leaves_names_and_addresses_alone() -> None:
    text = "Charlotte https://venue.example.com/rsvp charlotte@example.com"
    assert misspell(Random(1), text, 1.0) == text
    assert misspell(Random(1), "vegetarian", 1.0) != "vegetarian"


def test_the_office_answers_in_its_hours() -> None:
    zone = generate(seed=1, until=UNTIL, messages=400).tenants[0].zone
    saturday_night = datetime(2026, 6, 13, 22, 0, tzinfo=UTC)
    for seed in range(20):
        at = clock.pick_answer(Random(seed), saturday_night, zone, "outbound", "email")
        local = at.astimezone(zone)
        assert local.weekday() < 5
        assert 9 <= local.hour < 18


def test_wide_text_is_measured_and_wrapped() -> None:
    assert display_width("é请") == 3
    assert wrap_wide("请问晚宴有没有素食菜单", 8) == ["请问晚宴", "有没有素", "食菜单"]
    assert wrap_wide("one two three", 7) == ["one two", "three"]
