"""What the generator makes: tenants with guests, weddings, campaigns, threads, messages, events."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

SOURCE = "demo"


@dataclass(slots=True)
class Guest:
    """A person a tenant writes to; `style` colours how they write."""

    key: int
    name: str
    first: str
    family: str
    gender: str
    culture: str
    language: str
    timezone: str
    email: str | None
    phone: str | None
    is_casual: bool = False
    is_proxied: bool = False
    typo_rate: float = 0.0
    is_unsubscribed: bool = False


@dataclass(slots=True)
class Invitation:
    """A guest at one wedding, with the people they come with."""

    guest: Guest
    party: str
    role: str
    is_lead: bool
    partner: str | None = None
    child: str | None = None
    decision: str = "yes"
    table: int = 1
    rsvp: str = "pending"
    rsvp_at: datetime | None = None
    told: set[int] = field(default_factory=set)
    thread: Thread | None = None


@dataclass(slots=True)
class Wedding:
    """One wedding; `values` are its facts in every language, by slot name."""

    key: int
    name: str
    held_on: date
    starts_at: datetime
    timezone: str
    place: str
    couple: tuple[Guest, Guest]
    values: dict[str, Any]
    invitations: list[Invitation] = field(default_factory=list)


@dataclass(slots=True)
class Campaign:
    """One mailing to the guests of a wedding, or of a whole tenant."""

    key: int
    wedding: Wedding | None
    name: str
    channel: str
    purpose: str
    started_at: datetime


@dataclass(slots=True)
class Thread:
    """A conversation with one guest."""

    key: int
    subject: str
    guest: Guest
    wedding: Wedding | None
    staff: str
    size: int = 0
    last_at: datetime | None = None
    channel: str = ""


@dataclass(slots=True)
class Message:
    """One message, inbound or outbound."""

    external_id: str
    guest: Guest
    direction: str
    channel: str
    subject: str | None
    body: str
    sent_at: datetime
    thread: Thread
    wedding: Wedding | None
    campaign: Campaign | None
    language: str
    purpose: str
    status: str
    topic: str
    is_goodbye: bool = False


@dataclass(slots=True)
class Event:
    """Something that happened to an outbound message."""

    external_id: str
    message: Message
    kind: str
    occurred_at: datetime
    is_machine: bool = False


@dataclass(slots=True)
class Tenant:
    """A business with everything it has sent and received."""

    key: str
    name: str
    timezone: str
    language: str
    region: str
    share: float
    languages: dict[str, float]
    staff: list[str]
    profile: dict[str, Any]
    guests: list[Guest] = field(default_factory=list)
    weddings: list[Wedding] = field(default_factory=list)
    campaigns: list[Campaign] = field(default_factory=list)
    threads: list[Thread] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    @property
    def zone(self) -> ZoneInfo:
        """The tenant's time zone."""
        return ZoneInfo(self.timezone)


@dataclass(slots=True)
class Dataset:
    """All tenants, over one span of time."""

    seed: int
    since: datetime
    until: datetime
    tenants: list[Tenant]

    @property
    def message_count(self) -> int:
        """Messages of all tenants."""
        return sum(len(tenant.messages) for tenant in self.tenants)

    @property
    def event_count(self) -> int:
        """Events of all tenants."""
        return sum(len(tenant.events) for tenant in self.tenants)
