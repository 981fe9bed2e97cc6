"""Campaigns: the mailings of a wedding's arc, and a tenant's own newsletters."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from random import Random
from typing import NamedTuple

from demo import clock
from demo.model import Campaign, Guest, Invitation, Message, Tenant, Wedding
from demo.story import Storyteller
from demo.text import Line
from demo.weddings import GROUPS


class Mailing(NamedTuple):
    """One step of the arc: days before the wedding, channels, who gets it."""

    kind: str
    name: str
    days: tuple[int, int]
    channels: tuple[str, ...]
    purpose: str
    audience: str
    reply_rate: float


ARC = [
    Mailing("save_the_date", "Save the date", (300, 240), ("email",), "service", "invited", 0.16),
    Mailing("invitation", "Invitation", (150, 115), ("email",), "service", "invited", 0.0),
    Mailing("rsvp_reminder", "RSVP reminder", (62, 46), ("sms", "whatsapp"), "service", "silent", 0.0),
    Mailing("practical", "Travel and hotels", (40, 32), ("email",), "service", "coming", 0.12),
    Mailing(
        "seating",
        "Seating and timings",
        (8, 5),
        ("whatsapp", "email", "chat"),
        "service",
        "coming",
        0.14,
    ),
    Mailing("tomorrow", "See you tomorrow", (1, 1), ("sms", "whatsapp"), "service", "coming", 0.12),
    Mailing("thank_you", "Thank you", (-4, -10), ("email",), "service", "coming", 0.20),
    Mailing("photos", "Photo book offer", (-25, -40), ("email",), "marketing", "coming", 0.05),
]
NEWSLETTER_DAYS = ((1, 18), (3, 22), (9, 20), (11, 22))


class Mailer:
    """Sends the campaigns of one tenant."""

    def __init__(self, rng: Random, tenant: Tenant, teller: Storyteller, since: datetime, until: datetime) -> None:
        self._rng = rng
        self._tenant = tenant
        self._teller = teller
        self._since = since
        self._until = until
        self._answered: dict[int, datetime] = {}

    def send_service(self, wedding: Wedding) -> None:
        """Send everything a wedding's guests need to know, and let them answer."""
        self._answered = {}
        for mailing in ARC:
            if mailing.purpose == "service":
                self._send(wedding, mailing)
        self._settle(wedding)

    def send_marketing(self) -> None:
        """Send offers in the order of time, so that whoever leaves is left alone afterwards."""
        plans: list[tuple[date, int, Wedding | None, Mailing]] = []
        for mailing in (one for one in ARC if one.purpose == "marketing"):
            for wedding in self._tenant.weddings:
                plans.append((self._day(wedding, mailing), wedding.key, wedding, mailing))
        letter = Mailing("newsletter", "Newsletter", (0, 0), ("email",), "marketing", "coming", 0.03)
        for year in range(self._since.year, self._until.year + 1):
            plans += [(date(year, month, day), -1, None, letter) for month, day in NEWSLETTER_DAYS]
        for day, _, about, mailing in sorted(plans, key=lambda plan: plan[:2]):
            self._mail(about, mailing, day, self._offer_to(about, day))

    def _send(self, wedding: Wedding, mailing: Mailing) -> None:
        day = self._day(wedding, mailing)
        chosen = [one for one in wedding.invitations if self._belongs(one, mailing.audience, day)]
        self._mail(wedding, mailing, day, chosen)

    def _day(self, wedding: Wedding, mailing: Mailing) -> date:
        """A day within the step's range, towards the middle of the week where there is a choice."""
        first, last = sorted(mailing.days)
        days = [wedding.held_on - timedelta(self._rng.randint(first, last)) for _ in range(6)]
        return next((day for day in days if day.weekday() in (0, 1, 2, 3)), days[0])

    def _belongs(self, one: Invitation, audience: str, day: date) -> bool:
        if GROUPS[one.role] not in ("guest", "friends", "family"):
            return False
        if audience == "silent":
            answered = self._answered.get(one.guest.key)
            return one.is_lead and one.role == "guest" and (answered is None or answered.date() >= day)
        return audience == "invited" or one.decision == "yes"

    def _offer_to(self, wedding: Wedding | None, day: date) -> list[Invitation]:
        """Who gets an offer: guests of one wedding, or some of those around a newsletter's day."""
        weddings = [wedding] if wedding else [one for one in self._tenant.weddings if abs((one.held_on - day).days) < 150]
        found = [one for each in weddings for one in each.invitations if self._belongs(one, "coming", day)]
        return [one for one in found if one.guest.key % 3 == 0 or wedding]

    def _mail(self, wedding: Wedding | None, mailing: Mailing, day: date, chosen: list[Invitation]) -> None:
        rng, tenant = self._rng, self._tenant
        at = clock.at_local(day, time(rng.choice([9, 10, 11, 17, 18]), rng.choice([0, 15, 30])), tenant.zone)
        if not self._since <= at <= self._until or not chosen:
            return
        channel = rng.choice(mailing.channels)
        title = f"{mailing.name}: {wedding.name}" if wedding else f"{mailing.name} {day:%Y-%m}"
        campaign = Campaign(len(tenant.campaigns), wedding, title, channel, mailing.purpose, at)
        tenant.campaigns.append(campaign)
        variant = rng.random()
        for one in chosen:
            at += timedelta(seconds=rng.randint(1, 9))
            if at > self._until or one.guest.is_unsubscribed:
                continue
            self._mail_one(wedding, mailing, campaign, one, at, variant)

    def _mail_one(
        self,
        wedding: Wedding | None,
        mailing: Mailing,
        campaign: Campaign,
        one: Invitation,
        at: datetime,
        variant: float,
    ) -> None:
        rng, guest = self._rng, one.guest
        channel = _reachable(guest, campaign.channel)
        scene = self._teller.scene(guest, wedding, one, mailing.kind)
        texts = scene.book.campaigns[mailing.kind]
        template = texts["body"][int(variant * len(texts["body"]))]
        thread = self._teller.open_thread(guest, scene, wedding, texts["subject"][int(variant * len(texts["subject"]))])
        line = Line("outbound", False, scene.book.language, template)
        message = self._teller.write(scene, line, thread, wedding, channel, at, topic=mailing.kind, campaign=campaign)
        if mailing.purpose == "marketing" and rng.random() < 0.02:
            guest.is_unsubscribed = message.is_goodbye = True
        elif wedding and mailing.kind in ("invitation", "rsvp_reminder"):
            self._maybe_rsvp(wedding, mailing, one, message)
        elif wedding and rng.random() < mailing.reply_rate:
            self._teller.reply(wedding, one, mailing.kind, message)

    def _maybe_rsvp(self, wedding: Wedding, mailing: Mailing, one: Invitation, message: Message) -> None:
        """Let the head of a party answer by message, on the web page or not at all."""
        rng = self._rng
        if not one.is_lead or one.decision == "pending":
            return
        chance = rng.random()
        likely = 0.62 if mailing.kind == "invitation" else 0.80
        if one.role != "guest" or chance < likely * 0.35:
            self._answered[one.guest.key] = message.sent_at + timedelta(days=rng.randint(0, 12))
        elif chance < likely:
            when = self._teller.reply(wedding, one, f"rsvp_{one.decision}", message)
            if when:
                self._answered[one.guest.key] = when

    def _settle(self, wedding: Wedding) -> None:
        """Note for every party what is known of its answer at the end of the span."""
        deadline = clock.at_local(wedding.held_on - timedelta(35), time(12), self._tenant.zone)
        answers: dict[str, datetime] = {}
        for one in wedding.invitations:
            if one.guest.key in self._answered:
                answers[one.party] = self._answered[one.guest.key]
        for one in wedding.invitations:
            at = answers.get(one.party, deadline)
            if one.role != "guest":
                one.rsvp = one.decision
            elif at <= self._until and one.decision != "pending":
                one.rsvp, one.rsvp_at = one.decision, at


def _reachable(guest: Guest, channel: str) -> str:
    if channel in ("sms", "whatsapp") and not guest.phone:
        return "email"
    return channel
