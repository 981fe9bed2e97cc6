"""Names that a tenant knows: of its guests and of its weddings, ready to be looked for in texts.

A NameFinder of many guests takes long to make, so a session keeps those of the last tenants, each under its tenant's
identifier, with a sign that changes when a name is added, changed or removed. The sign costs one pass over the tenant's
guests, so it is read once a statement, and again where the statement lasts.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Any

from guestcomms.personal_data import NameFinder

KEPT_TENANTS = 4
TRUSTED_FOR = 1.0  # seconds within one statement
# What stands in names of weddings and couples and names nobody: without it, a sentence that begins with "And" would name one.
# Words of two letters are found within whole names only, so they stay: Le and De are names of people, too.
_WORDS_OF_NOBODY = (
    "and und och et og of the our for die der das von les des mrs miss prof herr frau "
    "family familie famille familia famiglia wedding weddings marriage engagement anniversary reception party celebration "
    "hochzeit feier verlobung mariage noces boda casamento matrimonio bruiloft bryllup bröllop"
)
_NOBODY = re.compile(
    rf"\b(?:{'|'.join(_WORDS_OF_NOBODY.split())})\b"
    r"|\d{1,2}[^\W\d_]{0,2}\.? [^\W\d_]{3,10} \d{4}\b|[^\W_]*\d[^\W_]*|[&+/,;:()]",
    re.IGNORECASE,
)
_STATEMENT = "SELECT statement_timestamp()::text AS statement"
_REGION = "SELECT t.region FROM guestcomms.tenants AS t WHERE t.tenant_id = $1"
# The seed is whose name it is: two guests of one name do not cancel each other.
_SIGN = """
SELECT concat_ws(' ', g.sign, w.sign) AS sign
FROM (SELECT concat_ws(' ', count(*), bit_xor(hashtextextended(i.display_name, uuid_hash_extended(i.guest_id, 0)))) AS sign
    FROM guestcomms.guests AS i WHERE i.tenant_id = $1 AND i.display_name IS NOT NULL) AS g
CROSS JOIN (SELECT concat_ws(' ', count(*), bit_xor(hashtextextended(i.name, uuid_hash_extended(i.wedding_id, 0)))) AS sign
    FROM guestcomms.weddings AS i WHERE i.tenant_id = $1) AS w
"""
_NAMES = """
SELECT g.display_name AS name FROM guestcomms.guests AS g WHERE g.tenant_id = $1 AND g.display_name IS NOT NULL
UNION ALL
SELECT w.name FROM guestcomms.weddings AS w WHERE w.tenant_id = $1
"""


@dataclass
class _Kept:
    finder: NameFinder
    sign: str
    statement: str
    checked_at: float


def load_region(plpy: Any, tenant_id: str) -> str:
    """The tenant's country (ISO 3166-1, two letters)."""
    return str(plpy.execute(plpy.prepare(_REGION, ["uuid"]), [tenant_id])[0]["region"])


def load_names(plpy: Any, session: dict[str, Any], tenant_id: str) -> NameFinder:
    """What finds the names that the tenant knows now; session is PL/Python's GD. The caller has made sure of the tenant."""
    kept: OrderedDict[str, _Kept] = session.setdefault("guestcomms.known_names", OrderedDict())
    statement = plpy.execute(_STATEMENT)[0]["statement"]
    entry = kept.get(tenant_id)
    if entry is None or entry.statement != statement or monotonic() - entry.checked_at > TRUSTED_FOR:
        sign = plpy.execute(plpy.prepare(_SIGN, ["uuid"]), [tenant_id])[0]["sign"]
        if entry is None or entry.sign != sign:
            # The old one goes first: two of many guests at once would take twice the memory.
            kept.pop(tenant_id, None)
            finder = NameFinder(_read_names(plpy, tenant_id))
        else:
            finder = entry.finder
        kept[tenant_id] = _Kept(finder, sign, statement, monotonic())
        if len(kept) > KEPT_TENANTS:
            kept.popitem(last=False)
    kept.move_to_end(tenant_id)
    return kept[tenant_id].finder


def _read_names(plpy: Any, tenant_id: str) -> Iterator[str]:
    for row in plpy.cursor(plpy.prepare(_NAMES, ["uuid"]), [tenant_id]):
        yield from people_in(row["name"])


def people_in(name: str) -> list[str]:
    """Of a name as it is written down, as "The Wedding of Ann & Tom 2027", those of people; none of an e-mail address."""
    if "@" in name:
        return []
    return [person for part in _NOBODY.split(name) if (person := part.strip(" .-'\"\u2019"))]
