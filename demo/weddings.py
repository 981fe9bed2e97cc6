"""Weddings: when and where they are, who comes, and what is true of them in every text."""

from __future__ import annotations

from bisect import bisect
from datetime import date, datetime, time, timedelta
from itertools import accumulate
from random import Random

from demo.model import Guest, Invitation, Tenant, Wedding
from demo.people import People, fold
from demo.text import Book

# Weddings by month, January to December.
SEASON = [1, 2, 3, 6, 11, 15, 14, 13, 13, 8, 2, 3]
FRIENDS = ["bridesmaid", "bridesmaid", "best man", "maid of honour", "usher"]
SUPPLIERS = ["photographer", "caterer", "musician", "florist"]
GROUPS = {"bride": "couple", "groom": "couple", "parent": "family", "guest": "guest"}
GROUPS |= dict.fromkeys(FRIENDS, "friends") | {role: role for role in SUPPLIERS}


class WeddingPlanner:
    """Makes the weddings of one tenant."""

    def __init__(self, rng: Random, tenant: Tenant, people: People, books: dict[str, Book]) -> None:
        self._rng = rng
        self._tenant = tenant
        self._people = people
        self._books = books

    def pick_days(self, count: int, since: datetime, until: datetime) -> list[date]:
        """Days of weddings whose conversations touch the span, spread as the seasons have them."""
        first = since.date() + timedelta(30)
        days = [first + timedelta(number) for number in range((until.date() - first).days + 200)]
        sums = list(accumulate(SEASON[day.month - 1] for day in days))
        found = []
        for number in range(count):
            share = (number + self._rng.random()) / count
            day = days[bisect(sums, share * sums[-1])]
            weekday = self._rng.choices([5, 4, 6], [80, 15, 5])[0]
            found.append(day + timedelta(weekday - day.weekday()))
        return found

    def add_wedding(self, held_on: date, guest_count: int) -> Wedding:
        """A wedding with its guests."""
        rng, tenant = self._rng, self._tenant
        cultures = (self._pick_latin(0.6), self._pick_latin(0.5))
        roles = rng.choices([("bride", "groom"), ("bride", "bride"), ("groom", "groom")], [88, 6, 6])[0]
        couple = tuple(
            self._people.add_guest(culture, "f" if role == "bride" else "m")
            for culture, role in zip(cultures, roles, strict=True)
        )
        for guest in couple:
            guest.is_casual, guest.timezone = False, tenant.timezone
        one, two = couple
        place = rng.choice(tenant.profile["places"])
        wedding = Wedding(
            key=len(tenant.weddings),
            name=f"{one.first} & {two.first}",
            held_on=held_on,
            starts_at=datetime.combine(held_on, time(rng.choice([14, 15, 16]), rng.choice([0, 0, 30])), tenant.zone),
            timezone=tenant.timezone,
            place=f"{place[0]}, {place[1]}",
            couple=(one, two),
            values={},
        )
        self._fill_values(wedding, place)
        tenant.weddings.append(wedding)
        for guest, role in zip(couple, roles, strict=True):
            wedding.invitations.append(Invitation(guest, wedding.name, role, is_lead=False))
        self._invite(wedding, guest_count)
        return wedding

    def _pick_culture(self, at_home: float = 0.0) -> str:
        shares = self._tenant.languages
        if self._rng.random() < at_home:
            return self._tenant.language
        return self._rng.choices(list(shares), list(shares.values()))[0]

    def _pick_latin(self, at_home: float) -> str:
        """A culture for one of the couple, whose name stands in everybody's messages."""
        culture = self._pick_culture(at_home)
        return self._tenant.language if culture in ("ar", "zh") else culture

    def _invite(self, wedding: Wedding, guest_count: int) -> None:
        people, rng, couple = self._people, self._rng, wedding.couple
        for child in couple:
            parents = [people.add_guest(child.culture, gender, child.family) for gender in "fm"]
            self._add_party(wedding, parents, "parent", child.family)
        for role in FRIENDS[: 2 + min(3, guest_count // 12)]:
            friend = people.add_guest(rng.choice(couple).culture, "f" if "maid" in role else "m")
            self._add_party(wedding, [friend], role, friend.name)
        for role in SUPPLIERS:
            maker = people.add_guest(self._tenant.language)
            wedding.invitations.append(Invitation(maker, maker.name, role, is_lead=False))
        languages = list(self._tenant.languages)
        for _ in range(2):  # somebody from further away is at every wedding
            self._invite_party(wedding, languages[wedding.key % len(languages)])
        while len(wedding.invitations) < guest_count:
            is_near = rng.random() < 0.45
            self._invite_party(wedding, rng.choice(couple).culture if is_near else self._pick_culture())

    def _invite_party(self, wedding: Wedding, culture: str) -> None:
        """Invite one or two guests who come together; now and then relatives."""
        people, rng = self._people, self._rng
        family = people.pick_family(culture)
        if rng.random() < 0.12:
            relative = rng.choice(wedding.couple)
            culture, family = relative.culture, relative.family
        first = people.add_guest(culture, None, family)
        party = [first]
        if rng.random() < 0.62:
            other = family if rng.random() < 0.7 else None
            party.append(people.add_guest(culture, "f" if first.gender == "m" else "m", other))
        self._add_party(wedding, party, "guest", family)

    def _add_party(self, wedding: Wedding, party: list[Guest], role: str, name: str) -> None:
        rng = self._rng
        decision, table = "yes", rng.randint(1, 14)
        if role == "guest":
            decision = rng.choices(["yes", "no", "maybe", "pending"], [77, 14, 4, 5])[0]
        has_child = role == "guest" and len(party) > 1 and rng.random() < 0.4
        child = self._people.pick_first(party[0].culture, rng.choice("fm"), name) if has_child else None
        for number, guest in enumerate(party):
            partner = party[1 - number].first if len(party) > 1 else None
            wedding.invitations.append(Invitation(guest, name, role, number == 0, partner, child, decision, table))

    def _fill_values(self, wedding: Wedding, place: list[str]) -> None:
        rng, tenant = self._rng, self._tenant
        one, two = wedding.couple
        money = str(tenant.profile["currency"])
        code = f"{fold(one.first)[:1]}{fold(two.first)[:1]}{wedding.held_on:%d%m}"
        shared = {
            "company": tenant.name,
            "us": tenant.profile["email"],
            "p1": one.first,
            "p2": two.first,
            "names": f"{one.first} & {two.first}",
            "venue": place[0],
            "town": place[1],
            "hotel": place[2],
            "hotel2": place[3],
            "station": place[4],
            "airport": place[5],
            "code": code.upper(),
            "link": f"{tenant.profile['site']}/w/{code.lower()}",
            "order": f"{tenant.key[:2].upper()}-{wedding.held_on:%y}{rng.randrange(1000, 9999)}",
            "invoice": f"{wedding.held_on:%Y}-{rng.randrange(100, 999)}",
            "headcount": str(rng.randrange(56, 140, 2)),
        }
        amounts = {
            "room": rng.randrange(85, 190, 5),
            "per_head": rng.randrange(72, 145, 3),
            "extra": rng.randrange(120, 480, 20),
            "deposit": rng.randrange(1500, 4000, 250),
            "balance": rng.randrange(4200, 14800, 130),
            "small_gift": rng.randrange(30, 90, 10),
            "postage": rng.randrange(3, 9),
        }
        start = wedding.starts_at
        at = {
            "t_setup": start - timedelta(hours=5),
            "t_portraits": start - timedelta(minutes=90),
            "t_ready": start - timedelta(minutes=30),
            "t_bus": start - timedelta(minutes=60),
            "t_ceremony": start,
            "t_drinks": start + timedelta(minutes=60),
            "t_dinner": start + timedelta(hours=3),
            "t_speech": start + timedelta(hours=4),
            "t_dance": start + timedelta(hours=6),
            "t_back1": start.replace(hour=23, minute=30),
            "t_back2": start.replace(hour=1, minute=0),
        }
        days = {"date": 0, "rsvp_by": -36, "rooms_by": -26, "menu_by": -22, "numbers_by": -15}
        for language, book in self._books.items():
            values = dict(shared)
            values |= {name: book.time(moment.time()) for name, moment in at.items()}
            values |= {name: book.date(wedding.held_on + timedelta(shift)) for name, shift in days.items()}
            values |= {name: money.format(book.number(amount)) for name, amount in amounts.items()}
            values["day"] = book.weekday(wedding.held_on)
            values["eve_day"] = book.weekday(wedding.held_on - timedelta(1))
            values["after_day"] = book.weekday(wedding.held_on + timedelta(1))
            values["couple"] = f"{one.first} {book.conjunction(fold(two.first))} {two.first}"
            wedding.values[language] = values
        wedding.values["kept"] = {}
