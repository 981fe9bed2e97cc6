"""Conversations: what is said around a wedding, by whom, in which order and when."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from random import Random

from demo import clock
from demo.clock import Pace
from demo.model import Campaign, Guest, Invitation, Message, Tenant, Thread, Wedding
from demo.text import Book, Line, Scene, Talk, misspell, polish
from demo.weddings import GROUPS

# How likely someone of a group is to be the one who writes next.
_TALKATIVE = {"couple": 9.0, "family": 3.0, "friends": 2.5, "guest": 1.0}
_SUPPLIER = 3.5
# Sad, or after the wedding: no "we can't wait", no balloons.
PLAIN_TOPICS = {
    "cancellation",
    "rsvp_no",
    "rsvp_maybe",
    "lost_property",
    "photos",
    "invoice",
    "thanks",
    "thank_you",
}
APOSTROPHE = "\N{RIGHT SINGLE QUOTATION MARK}"
_CHANNEL_MIX = {
    "guest": {"email": 34, "sms": 17, "whatsapp": 31, "chat": 18},
    "couple": {"email": 40, "sms": 4, "whatsapp": 36, "chat": 20},
}


class Storyteller:
    """Writes the conversations of one tenant."""

    def __init__(self, rng: Random, tenant: Tenant, books: dict[str, Book], since: datetime, until: datetime) -> None:
        self._rng = rng
        self._tenant = tenant
        self._books = books
        self._since = since
        self._until = until
        self._zone = tenant.zone

    def fill(self, wedding: Wedding, quota: int) -> int:
        """Add conversations of a wedding until there are `quota` messages; how many there are."""
        tellers = [one for one in wedding.invitations if one.decision != "no" or one.role != "guest"]
        weights = [_TALKATIVE.get(GROUPS[one.role], _SUPPLIER) for one in tellers]
        written, misses = 0, 0
        while written < quota and misses < 60:
            invitation = self._rng.choices(tellers, weights)[0]
            talk = self._pick_talk(wedding, invitation)
            added = self._hold(wedding, invitation, talk) if talk else 0
            written += added
            misses = 0 if added else misses + 1
        return written

    def reply(self, wedding: Wedding, invitation: Invitation, kind: str, opening: Message) -> datetime | None:
        """Let a guest answer a mailing; when they first did, if it was before the end."""
        book = self._books[invitation.guest.language]
        fitting = [talk for talk in book.replies.get(kind, []) if self._fits(talk, invitation)]
        if not fitting:
            return None
        talk = self._rng.choice(fitting)
        zone = self._zone
        at = clock.pick_answer(self._rng, opening.sent_at, zone, "inbound", opening.channel)
        if self._rng.random() < 0.5:
            at += timedelta(days=self._rng.randint(1, 9))
            at = clock.pick_answer(self._rng, at, zone, "inbound", opening.channel, Pace.URGENT)
        if at > self._until:
            return None
        scene = self.scene(invitation.guest, wedding, invitation)
        scene.values["staff"] = opening.thread.staff
        self._run(talk, scene, opening.thread, wedding, invitation, opening.channel, at)
        return at

    def open_thread(self, guest: Guest, scene: Scene, wedding: Wedding | None, subject: str) -> Thread:
        """A new thread with a guest, looked after by the scene's member of staff."""
        thread = Thread(
            len(self._tenant.threads),
            polish(scene.say(subject)),
            guest,
            wedding,
            scene.values["staff"],
        )
        self._tenant.threads.append(thread)
        return thread

    def scene(
        self,
        guest: Guest,
        wedding: Wedding | None,
        invitation: Invitation | None,
        mailing: str = "",
    ) -> Scene:
        """The facts that hold while something is written to or by a guest.

        Mailings are not in every language: some go out in the tenant's."""
        book = self._books[guest.language]
        if mailing and mailing not in book.campaigns:
            book = self._books[self._tenant.language]
        values = {"company": self._tenant.name, "us": str(self._tenant.profile["email"])}
        values["link"] = str(self._tenant.profile["site"])
        kept = {}
        if wedding:
            values |= wedding.values[book.language]
            kept = wedding.values["kept"]
            if guest in wedding.couple:
                values["other"] = wedding.couple[1 - wedding.couple.index(guest)].first
        if invitation:
            if mailing == "seating":
                values["table"] = str(invitation.table)
            values["partner"] = invitation.partner or ""
            values["child"] = invitation.child or ""
        values |= {"first": guest.first, "full": guest.name, "family": guest.family}
        values |= {
            "email": guest.email or "",
            "phone": guest.phone or "",
            "staff": self._rng.choice(self._tenant.staff),
        }
        scene = Scene(self._rng, book, values, kept)
        scene.values |= {slot: scene.say(template) for slot, template in book.gender.get(guest.gender, {}).items()}
        return scene

    def write(
        self,
        scene: Scene,
        line: Line,
        thread: Thread,
        wedding: Wedding | None,
        channel: str,
        at: datetime,
        *,
        topic: str,
        campaign: Campaign | None = None,
    ) -> Message:
        """Add one message to a thread."""
        if line.language != scene.book.language:
            scene = self._translated(scene, line.language, wedding)
        scene.values["greeting"] = scene.book.greeting(at.astimezone(self._zone).hour)
        subject = f"Re: {thread.subject}" if thread.size else thread.subject
        message = Message(
            external_id="",
            guest=thread.guest,
            direction=line.direction,
            channel=channel,
            subject=subject if channel == "email" else None,
            body=self._dress(scene, line, thread, channel, topic, campaign is not None),
            sent_at=at,
            thread=thread,
            wedding=wedding,
            campaign=campaign,
            language=line.language,
            purpose=campaign.purpose if campaign else "service",
            status="received" if line.direction == "inbound" else "sent",
            topic=topic,
        )
        thread.size += 1
        thread.last_at, thread.channel = at, channel
        self._tenant.messages.append(message)
        return message

    def _translated(self, scene: Scene, language: str, wedding: Wedding | None) -> Scene:
        book = self._books[language]
        values = scene.values | (wedding.values[language] if wedding else {})
        return Scene(self._rng, book, values, scene.wedding_values)

    def _fits(self, talk: Talk, invitation: Invitation) -> bool:
        has = {
            "partner": invitation.partner,
            "child": invitation.child,
            "phone": invitation.guest.phone,
        }
        return (GROUPS[invitation.role] in talk.who or "all" in talk.who) and all(has[need] for need in talk.needs)

    def _pick_talk(self, wedding: Wedding, invitation: Invitation) -> Talk | None:
        book = self._books[invitation.guest.language]
        open_talks, weights = [], []
        for talk in book.talks:
            if talk.number in invitation.told or not self._fits(talk, invitation):
                continue
            days = self._days(wedding, talk)
            if days:
                open_talks.append(talk)
                planned = talk.when[0] - talk.when[1] + 1
                weights.append(talk.weight * ((days[1] - days[0]).days + 1) / planned)
        return self._rng.choices(open_talks, weights)[0] if open_talks else None

    def _days(self, wedding: Wedding, talk: Talk) -> tuple[date, date] | None:
        """The part of the talk's window (in days before the wedding) that lies in our span."""
        first = max(wedding.held_on - timedelta(talk.when[0]), self._since.date() + timedelta(1))
        last = min(wedding.held_on - timedelta(talk.when[1]), self._until.date())
        return (first, last) if first <= last else None

    def _hold(self, wedding: Wedding, invitation: Invitation, talk: Talk) -> int:
        """Let one conversation take place; how many messages it had."""
        guest = invitation.guest
        channel = self._pick_channel(guest, talk, GROUPS[invitation.role])
        days = self._days(wedding, talk)
        if not channel or not days:
            return 0
        thread, at = self._take_up(invitation, days)
        if talk.moment:
            is_early = talk.moment == "before"
            minutes = self._rng.randint(-95, -12) if is_early else self._rng.randint(330, 470)
            thread, at = None, (wedding.starts_at + timedelta(minutes=minutes)).astimezone(UTC)
        elif not thread:
            first = talk.lines[0].direction
            at = clock.pick_start(self._rng, days, self._zone, first, channel)
        if not self._since <= at <= self._until:
            return 0
        invitation.told.add(talk.number)
        scene = self.scene(guest, wedding, invitation)
        if thread:
            scene.values["staff"] = thread.staff
            if self._rng.random() < 0.7 and thread.channel in talk.channels:
                channel = thread.channel
        else:
            thread = self.open_thread(guest, scene, wedding, self._rng.choice(talk.subjects))
        invitation.thread = thread
        return self._run(talk, scene, thread, wedding, invitation, channel, at)

    def _take_up(self, invitation: Invitation, days: tuple[date, date]) -> tuple[Thread | None, datetime]:
        """Now and then a guest asks the next thing in the thread of the last one."""
        thread = invitation.thread
        if thread and thread.last_at and thread.size < 9 and self._rng.random() < 0.35:
            later = thread.last_at + timedelta(days=self._rng.randint(0, 6), minutes=5)
            if days[0] <= later.date() <= days[1]:
                at = clock.pick_answer(self._rng, later, self._zone, "inbound", "email")
                return thread, at
        return None, self._since

    def _run(
        self,
        talk: Talk,
        scene: Scene,
        thread: Thread,
        wedding: Wedding,
        invitation: Invitation,
        channel: str,
        at: datetime,
    ) -> int:
        """Say the lines of a talk one after the other, until the end of the span."""
        rng, written, before = self._rng, 0, None
        is_kept, was_optional = True, False
        pace = Pace.URGENT if abs((wedding.held_on - at.date()).days) <= 2 else Pace.CALM
        if talk.moment:
            pace = Pace.INSTANT
        for line in talk.lines:
            if not (line.is_optional and was_optional):
                is_kept = not line.is_optional or rng.random() < 0.5
            was_optional = line.is_optional
            if not is_kept:
                continue
            if before is not None:
                channel = self._maybe_switch(channel, invitation.guest, talk)
                if before.direction == line.direction:
                    at += timedelta(seconds=rng.randint(25, 420))
                else:
                    at = clock.pick_answer(rng, at, self._zone, line.direction, channel, pace)
            if at > self._until:
                break
            self.write(scene, line, thread, wedding, channel, at, topic=talk.topic)
            before = line
            written += 1
        return written

    def _pick_channel(self, guest: Guest, talk: Talk, group: str) -> str | None:
        mix = _CHANNEL_MIX.get(group, _CHANNEL_MIX["guest"])
        fitting = [channel for channel in mix if channel in talk.channels and _can_reach(guest, channel)]
        return self._rng.choices(fitting, [mix[channel] for channel in fitting])[0] if fitting else None

    def _maybe_switch(self, channel: str, guest: Guest, talk: Talk) -> str:
        if self._rng.random() >= 0.05:
            return channel
        other = self._rng.choice([one for one in talk.channels if _can_reach(guest, one)] or [channel])
        return other

    def _dress(self, scene: Scene, line: Line, thread: Thread, channel: str, topic: str, is_mailing: bool) -> str:
        """The line as a whole message: with greeting and signature where the channel has them."""
        rng, way = self._rng, "in" if line.direction == "inbound" else "out"
        text = scene.say(line.template).replace("\\n", "\n")
        is_plain = is_mailing or topic in PLAIN_TOPICS
        if channel == "email":
            return self._letter(scene, text, line, thread, is_plain)
        greets = (0.75, 0.3, 0.04)[min(thread.size, 2)]
        if is_mailing or rng.random() < greets:
            text = f"{scene.say(f'{{hi_{way}}}')} {text}"
        if not is_plain and channel in ("whatsapp", "chat") and rng.random() < 0.22:
            text = f"{text} {scene.say('{emoji}')}"
        if channel in ("sms", "whatsapp") and rng.random() < (0.12 if thread.size else 0.35):
            text = f"{_end(text)} {scene.say(f'{{sign_{way}}}')}"
        return self._spoil(polish(text), line, thread.guest, is_short=True)

    def _letter(self, scene: Scene, text: str, line: Line, thread: Thread, is_plain: bool) -> str:
        """A text as an e-mail; later ones are plainer than the first."""
        rng, way = self._rng, "in" if line.direction == "inbound" else "out"
        is_opener = thread.size == (0 if way == "in" else 1)
        if not is_plain and is_opener and rng.random() < 0.5:
            text = f"{scene.say(f'{{warm_{way}}}')} {text}"
        if not is_plain and (is_opener or way == "out") and rng.random() < 0.3:
            text = f"{_end(text)} {scene.say(f'{{close_{way}}}')}"
        parts = [
            self._spoil(polish(_end(text)), line, thread.guest),
            scene.say(f"{{bye_{way}}}").strip(),
        ]
        if thread.size < 2 or way == "out" or rng.random() < 0.5:
            parts.insert(0, scene.say(f"{{hello_{way}}}"))
        return "\n\n".join(parts)

    def _spoil(self, text: str, line: Line, guest: Guest, is_short: bool = False) -> str:
        if line.direction == "outbound":
            return text
        text = misspell(self._rng, text, guest.typo_rate)
        if guest.is_casual and is_short and line.language != "de":
            text = text.replace(APOSTROPHE, "").rstrip(".")
            text = text[:1].lower() + text[1:] if not text.startswith("I ") else text
        return text


def _can_reach(guest: Guest, channel: str) -> bool:
    """Whether the guest has what the channel needs; chat needs only the wedding page."""
    return channel == "chat" or bool(guest.email if channel == "email" else guest.phone)


def _end(text: str) -> str:
    """The text with a full stop, if it ends in a word."""
    if text[-1].isalnum() and "https://" not in text.rsplit(maxsplit=1)[-1]:
        return f"{text}。" if text[-1] > "\u3000" else f"{text}."
    return text
