"""Personal data in texts of a tenant: by its country and by the names that it knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from guestcomms.known_names import load_names, load_region
from guestcomms.personal_data import CERTAIN, KINDS, detect, hide, normal_forms


class BadArgument(ValueError):
    """An argument out of its bounds; detail says which, hint what would do. None holds what was given as text."""

    def __init__(self, message: str, detail: str, hint: str) -> None:
        super().__init__(message)
        self.detail, self.hint = detail, hint


def find_in_texts(
    plpy: Any,
    session: dict[str, Any],
    tenant_id: str,
    texts: Sequence[str | None],
    min_certainty: float | None,
    kinds: Sequence[str | None] | None = None,
) -> list[tuple[int, int, int, str, float]]:
    """Number of the text (from 1), start, end (characters from 0, end excluded), kind and certainty of each finding.

    Without kinds all of them. Raises BadArgument for a min_certainty that is not above 0 and up to 1, and for an unknown kind.
    """
    _check(min_certainty, kinds)
    if not any(texts):
        return []
    region, names = load_region(plpy, tenant_id), load_names(plpy, session, tenant_id)
    return [
        (number, finding.start, finding.end, finding.kind, finding.certainty)
        for number, text in enumerate(texts, 1)
        for finding in detect(text or "", region, names)
        if finding.certainty >= (min_certainty or 0) and (kinds is None or finding.kind in kinds)
    ]


def anonymize(plpy: Any, session: dict[str, Any], tenant_id: str, text: str, keep: Sequence[str | None] | None) -> str:
    """text with the kind in brackets for whatever is found with at least CERTAIN, but for values in keep, however written."""
    region, names = load_region(plpy, tenant_id), load_names(plpy, session, tenant_id)
    return hide(text, region, names, normal_forms(keep or (), region))


def _check(min_certainty: float | None, kinds: Sequence[str | None] | None) -> None:
    if min_certainty is None or not 0 < min_certainty <= 1:
        raise BadArgument(
            "min_certainty is out of bounds", f"min_certainty is {min_certainty}.", f"Above 0 and up to 1; {CERTAIN} is certain."
        )
    for number, kind in enumerate(kinds or (), 1):
        if kind not in KINDS:
            raise BadArgument(
                "there is no such kind of personal data", f"Element {number} of kinds is none.", f"Kinds: {', '.join(KINDS)}."
            )
