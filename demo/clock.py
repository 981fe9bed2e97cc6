"""When people write: daily and weekly rhythms by channel, office hours, delays of answers."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from random import Random
from zoneinfo import ZoneInfo


class Pace(Enum):
    """How pressing it is: the most minutes that an answer usually takes."""

    CALM = 10_000
    URGENT = 12
    INSTANT = 3


_CURVES: dict[str, tuple[list[int], list[float]]] = {
    # channel: weights of the hours 0-23, weights of Monday-Sunday
    "email": (
        [1, 0, 0, 0, 0, 1, 3, 8, 14, 20, 19, 16, 13, 13, 14, 13, 12, 10, 9, 10, 15, 16, 9, 3],
        [6, 5, 5, 5, 4, 3, 5],
    ),
    "sms": (
        [0, 0, 0, 0, 0, 0, 1, 4, 8, 9, 10, 11, 15, 14, 10, 10, 12, 17, 18, 15, 11, 6, 3, 1],
        [4, 4, 4, 4, 5, 6, 4],
    ),
    "whatsapp": (
        [2, 1, 0, 0, 0, 0, 1, 4, 7, 8, 9, 10, 13, 13, 10, 9, 11, 14, 18, 22, 24, 21, 13, 6],
        [4, 4, 4, 4, 5, 6, 7],
    ),
    "chat": (
        [1, 0, 0, 0, 0, 0, 1, 3, 6, 10, 12, 13, 19, 18, 12, 10, 10, 11, 13, 16, 20, 19, 11, 4],
        [5, 5, 4, 4, 4, 4, 6],
    ),
}
_OFFICE = [0] * 8 + [4, 16, 18, 15, 8, 9, 14, 15, 14, 9, 2] + [0] * 5
_OFFICE_DAYS = [5.0, 6.0, 6.0, 6.0, 5.0, 1.0, 0.0]
# Median minutes until an answer: (business, guest).
_ANSWER = {"email": (170, 420), "sms": (40, 22), "whatsapp": (28, 16), "chat": (9, 4)}


def pick_start(rng: Random, days: tuple[date, date], zone: ZoneInfo, direction: str, channel: str) -> datetime:
    """A moment between two days at which someone would start to write."""
    hours, weekdays = (_OFFICE, _OFFICE_DAYS) if direction == "outbound" else _CURVES[channel]
    span = (days[1] - days[0]).days
    top = max(weekdays)
    day = days[0] + timedelta(rng.randint(0, span))
    for _ in range(6):
        if rng.random() < weekdays[day.weekday()] / top:
            break
        day = days[0] + timedelta(rng.randint(0, span))
    hour = rng.choices(range(24), hours)[0]
    return at_local(day, time(hour, rng.randrange(60), rng.randrange(60)), zone)


def pick_answer(
    rng: Random,
    after: datetime,
    zone: ZoneInfo,
    direction: str,
    channel: str,
    pace: Pace = Pace.CALM,
) -> datetime:
    """When the answer to a message comes, at an hour at which its writer is there."""
    median = _ANSWER[channel][0 if direction == "outbound" else 1]
    minutes = min(median, pace.value) * math.exp(rng.gauss(0, 0.9))
    at = after + timedelta(seconds=max(20, round(minutes * 60)))
    local = at.astimezone(zone)
    if direction == "inbound" and pace is Pace.CALM and 9 <= local.hour < 17 and rng.random() < 0.45:
        local = local.replace(hour=rng.choices(range(16, 23), [1, 2, 3, 4, 5, 4, 2])[0])
        at = local.astimezone(UTC)
    opens, closes, opens_today = _hours(direction, local.weekday(), pace)
    while not opens_today or not opens <= local.hour < closes:
        if not opens_today or local.hour >= closes:
            local = datetime.combine(local.date() + timedelta(1), time(0), zone)
            opens, closes, opens_today = _hours(direction, local.weekday(), pace)
        else:
            wait = timedelta(seconds=rng.expovariate(1 / 5400) % 16000 // 1)
            at = max(at, datetime.combine(local.date(), time(opens), zone).astimezone(UTC) + wait)
            break
    return at


def at_local(day: date, moment: time, zone: ZoneInfo) -> datetime:
    """A local day and time as UTC."""
    return datetime.combine(day, moment, zone).astimezone(UTC)


def _hours(direction: str, weekday: int, pace: Pace) -> tuple[int, int, bool]:
    if pace is Pace.INSTANT:
        return 0, 24, True
    if pace is Pace.URGENT or direction == "inbound":
        return 7, 23, True
    return (10, 15, True) if weekday == 5 else (9, 18, weekday != 6)
