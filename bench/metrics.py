"""How good a ranking is against judgements that are yes or no."""

from __future__ import annotations

import math
from collections.abc import Set as AbstractSet


def ndcg(found: list[int], relevant: AbstractSet[int], at: int = 10) -> float:
    """Discounted cumulative gain of the first so many, as a share of the best there is: 0 to 1.

    >>> ndcg([1, 2], {1, 2})
    1.0
    >>> round(ndcg([9, 1], {1}), 3)
    0.631
    """
    gain = sum(1 / math.log2(place + 2) for place, number in enumerate(found[:at]) if number in relevant)
    return gain / sum(1 / math.log2(place + 2) for place in range(min(at, len(relevant))))


def recall(found: list[int], relevant: AbstractSet[int], at: int = 100) -> float:
    """Share of the relevant that is among the first so many.

    >>> recall([1, 9, 2], {1, 2, 3, 4})
    0.5
    """
    return len(relevant & set(found[:at])) / len(relevant)


def overlap(found: list[str], reference: list[str], at: int = 10) -> float:
    """Share of the first so many of a reference that are among the first so many found; 1 where the reference has none.

    >>> overlap(["a", "b"], ["b", "c"]), overlap([], [])
    (0.5, 1.0)
    """
    wanted = set(reference[:at])
    return len(wanted.intersection(found[:at])) / len(wanted) if wanted else 1.0
