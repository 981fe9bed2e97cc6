"""How well personal data is found: recall and precision on records whose spans are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from guestcomms.personal_data import CERTAIN, Finding

# What the spans of Presidio's generated sentences are called here; other spans are of kinds that no rule finds.
KINDS = {
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "IBAN_CODE": "iban",
    "CREDIT_CARD": "card",
    "IP_ADDRESS": "ip_address",
    "DOMAIN_NAME": "url",
}


def score(records: Iterable[dict[str, Any]], detect: Callable[[str], list[Finding]]) -> dict[str, tuple[float, float]]:
    """Recall and precision of each kind, at any overlap of a span with a finding of its kind of at least CERTAIN.

    Recall is the share of spans that a finding overlaps, precision that of findings that overlap a span; 1 where there is
    none. records have full_text and spans (entity_type, start_position, end_position: 0-based characters).
    """
    counts: Counter[tuple[str, str]] = Counter()
    for record in records:
        spans = [
            Finding(span["start_position"], span["end_position"], KINDS[span["entity_type"]], 1.0)
            for span in record["spans"]
            if span["entity_type"] in KINDS
        ]
        found = [finding for finding in detect(record["full_text"]) if finding.certainty >= CERTAIN]
        counts.update(("spans", span.kind) for span in spans)
        counts.update(("found spans", span.kind) for span in spans if _meets(span, found))
        counts.update(("findings", finding.kind) for finding in found)
        counts.update(("right findings", finding.kind) for finding in found if _meets(finding, spans))
    return {
        kind: (
            _share(counts["found spans", kind], counts["spans", kind]),
            _share(counts["right findings", kind], counts["findings", kind]),
        )
        for kind in KINDS.values()
    }


def _meets(one: Finding, others: list[Finding]) -> bool:
    return any(one.kind == other.kind and one.start < other.end and other.start < one.end for other in others)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0
