"""Generate a demonstration: `python3 -m demo.generate` prints a sample of what is made."""

from __future__ import annotations

import argparse
import textwrap
from collections import Counter
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from demo.mailings import Mailer
from demo.model import Dataset, Message, Tenant, Wedding
from demo.people import People
from demo.signals import add_events
from demo.story import Storyteller
from demo.text import load_books, load_data
from demo.weddings import WeddingPlanner

DEFAULT_MESSAGES = 60_000
SPAN_DAYS = 548
WEDDINGS = 56


def generate(seed: int = 7, until: datetime | None = None, messages: int = DEFAULT_MESSAGES) -> Dataset:
    """At least `messages` messages of the 18 months up to `until`, which is now if not given.

    Always the same for the same arguments. The mailings alone make about 3,600."""
    until = (until or datetime.now(UTC)).astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    since = until - timedelta(days=SPAN_DAYS)
    tenants = [_read_tenant(profile) for profile in load_data("places")["tenant"]]
    missing = 0
    for number, tenant in enumerate(tenants):
        quota = round(messages * tenant.share) + missing + (number == len(tenants) - 1) * len(tenants)
        _fill(Random(f"{seed}/{until.isoformat()}/{tenant.key}"), tenant, since, until, quota)
        missing = quota - len(tenant.messages)
    return Dataset(seed, since, until, tenants)


def _read_tenant(profile: dict[str, Any]) -> Tenant:
    keys = ("key", "name", "timezone", "language", "region", "share", "languages", "staff")
    return Tenant(**{key: profile[key] for key in keys}, profile=profile)


def _fill(rng: Random, tenant: Tenant, since: datetime, until: datetime, quota: int) -> None:
    """Give one tenant its weddings, then mailings, then conversations up to the quota."""
    books = load_books()
    planner = WeddingPlanner(rng, tenant, People(rng, tenant), books)
    teller = Storyteller(rng, tenant, books, since, until)
    mailer = Mailer(rng, tenant, teller, since, until)
    count = min(16, max(12, round(WEDDINGS * tenant.share))) * max(1, quota // 18_000)
    per_wedding = quota / count
    for held_on in planner.pick_days(count, since, until):
        size = rng.gauss(1, 0.22) * min(72, max(14, per_wedding / 17))
        mailer.send_service(planner.add_wedding(held_on, max(12, round(size))))
    mailer.send_marketing()
    _converse(teller, tenant, since, until, quota)
    _sort(tenant)
    add_events(rng, tenant, until)


def _converse(teller: Storyteller, tenant: Tenant, since: datetime, until: datetime, quota: int) -> None:
    """Spread the missing messages over the weddings by how much of their arc we see."""
    for _ in range(3):
        missing = quota - len(tenant.messages)
        weights = [_weight(wedding, since, until) for wedding in tenant.weddings]
        for wedding, weight in zip(tenant.weddings, weights, strict=True):
            share = min(quota - len(tenant.messages), round(missing * weight / sum(weights)) + 1)
            teller.fill(wedding, share)


def _weight(wedding: Wedding, since: datetime, until: datetime) -> float:
    """How lively a wedding is in our span: most is said in the last ten weeks."""
    before = (until.date() - wedding.held_on).days
    start = (wedding.held_on - since.date()).days
    seen = min(1.0, max(0.0, (before + 70) / 70)) * 0.75 + min(1.0, max(0.0, (before + 260) / 260)) * 0.25
    return len(wedding.invitations) * seen * min(1.0, 0.5 + start / 250)


def _sort(tenant: Tenant) -> None:
    """Put the messages in the order of time and number them so."""
    tenant.messages.sort(key=lambda message: message.sent_at)
    for number, message in enumerate(tenant.messages, start=1):
        message.external_id = f"{tenant.key}-{number:06}"


def print_sample(dataset: Dataset, threads: int, language: str | None, seed: int) -> None:
    """Print counts and some whole conversations."""
    for tenant in dataset.tenants:
        languages = Counter(message.language for message in tenant.messages)
        channels = Counter(message.channel for message in tenant.messages)
        print(
            f"{tenant.name}: {len(tenant.weddings)} weddings, {len(tenant.guests)} guests, "
            f"{len(tenant.threads)} threads, {len(tenant.messages)} messages, "
            f"{len(tenant.events)} events"
        )
        print(f"  {dict(languages)} {dict(channels)}")
    by_thread: dict[tuple[str, int], list[Message]] = {}
    for tenant in dataset.tenants:
        for message in tenant.messages:
            by_thread.setdefault((tenant.key, message.thread.key), []).append(message)
    fitting = [talk for talk in by_thread.values() if len(talk) > 1 and language in (None, talk[0].language)]
    for talk in Random(seed).sample(fitting, min(threads, len(fitting))):
        first = talk[0]
        zone = first.wedding.timezone if first.wedding else "UTC"
        about = f"{first.wedding.name}, {first.wedding.held_on}, {first.wedding.place}" if first.wedding else ""
        print(f"\n=== {first.thread.subject} · {first.guest.name} · {about}")
        for message in talk:
            arrow = ">" if message.direction == "inbound" else "<"
            at = f"{message.sent_at.astimezone(ZoneInfo(zone)):%a %Y-%m-%d %H:%M}"
            print(f"{arrow} {at} {message.channel} {message.language} {message.topic}")
            print(textwrap.indent(message.body, "    "))


def main() -> None:
    """Print a sample."""
    parser = argparse.ArgumentParser(description="Print a sample of the demonstration's conversations.")
    parser.add_argument("--messages", type=int, default=DEFAULT_MESSAGES, help="at least; 4,000 or more")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--until", type=datetime.fromisoformat, default=None, help="end of the history, ISO 8601")
    parser.add_argument("--threads", type=int, default=8, help="conversations to print")
    parser.add_argument("--language", default=None, help="only conversations that start in this language")
    arguments = parser.parse_args()
    print_sample(
        generate(arguments.seed, arguments.until, arguments.messages),
        arguments.threads,
        arguments.language,
        arguments.seed,
    )


if __name__ == "__main__":
    main()
