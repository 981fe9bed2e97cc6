"""Which codec a segment deserves, guessed from cheap features instead of trying them all.

For each candidate a linear model of log(compressed bytes / bytes) of the rest of a segment; the opaque part is stored as it
is. It is fitted by ridge regression (Hoerl, Kennedy 1970) that shrinks towards the prior coefficients instead of zero, so
few trials change little and no trials nothing.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from guestcomms.compression import CODECS, Dictionary

Candidate = tuple[str, int]

# log_bytes, log_opaque_bytes: natural logarithms of bytes + 1; distinct: distinct bytes / 256; entropy: of order 0, bits per
# byte / 8; repeated: share of 4-byte strings that came before; template: share of windows that the dictionary holds;
# age: logarithm of the dictionary's days + 1, over 10.
FEATURES = ("log_bytes", "log_opaque_bytes", "distinct", "entropy", "repeated", "template", "age")
SAMPLE_BYTES = 4096
WINDOW_BYTES, WINDOW_STEP = 12, 16
PENALTY = 1.0
LEAST_RATIO, MOST_RATIO = 0.001, 1.2
# The intercept, then one coefficient to a feature: fitted over short informal English messages, twenty to a segment.
PRIOR: dict[Candidate, tuple[float, ...]] = {
    ("stored", 0): (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    ("gzip", 6): (0.16, -0.09, -0.01, 0.23, 0.18, -0.92, 0.0, 0.0),
    ("zstd", 3): (0.16, -0.08, -0.01, 0.19, 0.17, -0.92, 0.0, 0.0),
    ("zstd_dict", 3): (0.17, -0.13, 0.01, 0.26, 0.18, -0.74, -0.2, 0.0),
    ("zstd", 19): (0.17, -0.09, -0.01, 0.19, 0.19, -0.94, 0.0, 0.0),
    ("zstd_dict", 19): (0.02, -0.11, 0.0, 0.34, 0.13, -0.8, -0.22, 0.0),
}


class Trial(NamedTuple):
    """What a codec made of a segment; stored_bytes is the length of its payload, opaque part included."""

    features: Sequence[float]
    codec: str
    level: int
    stored_bytes: int


class Evaluation(NamedTuple):
    """How good the predictions are; ratios, not percents.

    error: mean of |predicted / actual - 1|; regret: mean of chosen / best - 1 in bytes; slope: of log(actual) on
    log(predicted), 1 where large and small are told apart rightly; bias: mean of actual / predicted; segments: how many.
    """

    error: float
    regret: float
    slope: float
    bias: float
    segments: int


def features(rest: bytes, opaque_length: int, dictionary: Dictionary | None, dictionary_age_days: float) -> list[float]:
    """The values of FEATURES for the compressible part of a segment and the length of the other, each about 0 to 10."""
    # From the middle of long ones: texts are in front, numbers at the end.
    start = max(0, (len(rest) - SAMPLE_BYTES) // 2)
    sample = rest[start : start + SAMPLE_BYTES]
    counts = Counter(sample)
    entropy = -sum(count / len(sample) * math.log2(count / len(sample)) for count in counts.values())
    strings = [sample[place : place + 4] for place in range(len(sample) - 3)]
    repeated = 1 - len(set(strings)) / len(strings) if strings else 0.0
    template = 0.0
    if dictionary is not None:
        places = range(0, max(len(sample) - WINDOW_BYTES + 1, 0), WINDOW_STEP)
        found = sum(sample[place : place + WINDOW_BYTES] in dictionary.content for place in places)
        template = found / len(places) if places else 0.0
    return [
        math.log1p(len(rest)),
        math.log1p(opaque_length),
        len(counts) / 256,
        entropy / 8,
        repeated,
        template,
        math.log1p(max(dictionary_age_days, 0.0)) / 10,
    ]


class Predictor:
    """Coefficients by candidate."""

    def __init__(self, coefficients: dict[Candidate, tuple[float, ...]]) -> None:
        self.coefficients = {**PRIOR, **coefficients}

    @classmethod
    def prior(cls) -> Predictor:
        """What is guessed before anything was learned."""
        return cls({})

    @classmethod
    def fit(cls, trials: Iterable[Trial]) -> Predictor:
        """A predictor of what trials showed; candidates without trials keep their prior."""
        grouped: dict[Candidate, list[Trial]] = defaultdict(list)
        for trial in trials:
            grouped[trial.codec, trial.level].append(trial)
        nothing = (0.0,) * (len(FEATURES) + 1)
        return cls({candidate: _ridge(found, PRIOR.get(candidate, nothing)) for candidate, found in grouped.items()})

    @classmethod
    def from_json(cls, text: str) -> Predictor:
        """What to_json() wrote; ValueError where it is anything else."""
        parsed = json.loads(text)
        if not isinstance(parsed, dict):
            raise ValueError("a predictor is an object")
        coefficients = {}
        for name, values in parsed.items():
            codec, _, level = name.partition("/")
            numbers = isinstance(values, list) and all(type(value) in (int, float) and math.isfinite(value) for value in values)
            if not numbers or len(values) != len(FEATURES) + 1:
                raise ValueError("a predictor has a finite coefficient for each feature and one more")
            coefficients[codec, int(level)] = tuple(map(float, values))
        return cls(coefficients)

    def to_json(self) -> str:
        """An object: the coefficients by codec/level."""
        return json.dumps({f"{codec}/{level}": list(values) for (codec, level), values in self.coefficients.items()})

    def predict(self, measured: Sequence[float]) -> dict[Candidate, float]:
        """Bytes of the payload by candidate, from what features() gave."""
        rest, opaque = math.expm1(measured[0]), math.expm1(measured[1])
        predicted = {}
        for candidate, coefficients in self.coefficients.items():
            exponent = sum(map(float.__mul__, coefficients, _with_intercept(measured)))
            exponent = min(max(exponent, math.log(LEAST_RATIO)), math.log(MOST_RATIO))
            predicted[candidate] = opaque + 1 + rest * math.exp(exponent)
        return predicted

    def choose(self, measured: Sequence[float], candidates: Sequence[Candidate], tolerance: float = 0.02) -> Candidate:
        """The candidate of least effort that is predicted within the tolerance of the least bytes predicted."""
        predicted = self.predict(measured)
        known = [candidate for candidate in candidates if candidate in predicted]
        if not known:
            raise ValueError("no candidate is known to the predictor")
        limit = min(predicted[candidate] for candidate in known) * (1 + tolerance)
        return min((candidate for candidate in known if predicted[candidate] <= limit), key=_effort)


def evaluate(predictor: Predictor, segments: Iterable[Sequence[Trial]], tolerance: float = 0.02) -> Evaluation:
    """How a predictor does on segments, each with its trials of several codecs; ValueError where there are none."""
    errors, regrets, ratios, points = [], [], [], []
    for trials in segments:
        stored = {(trial.codec, trial.level): trial.stored_bytes for trial in trials}
        predicted = predictor.predict(trials[0].features)
        chosen = predictor.choose(trials[0].features, list(stored), tolerance)
        regrets.append(stored[chosen] / min(stored.values()) - 1)
        for candidate, actual in stored.items():
            if candidate in predicted:
                errors.append(abs(predicted[candidate] / actual - 1))
                ratios.append(actual / predicted[candidate])
                points.append((math.log(predicted[candidate]), math.log(actual)))
    if not regrets:
        raise ValueError("nothing to evaluate")
    return Evaluation(_mean(errors), _mean(regrets), _slope(points), _mean(ratios), len(regrets))


def _effort(candidate: Candidate) -> int:
    return CODECS.index(candidate) if candidate in CODECS else len(CODECS)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the line of least squares; 1 where all are predicted alike, so that none can be told."""
    middle_x, middle_y = _mean([x for x, _ in points]), _mean([y for _, y in points])
    spread = math.fsum((x - middle_x) ** 2 for x, _ in points)
    return math.fsum((x - middle_x) * (y - middle_y) for x, y in points) / spread if spread > 1e-12 else 1.0


def _with_intercept(measured: Sequence[float]) -> list[float]:
    return [1.0, *map(float, measured)]


def _ridge(trials: Sequence[Trial], prior: Sequence[float]) -> tuple[float, ...]:
    """Coefficients that minimise squared errors + PENALTY times the squared distance from the prior (normal equations)."""
    size = len(FEATURES) + 1
    matrix = [[PENALTY if row == column else 0.0 for column in range(size)] for row in range(size)]
    vector = [0.0] * size
    for trial in trials:
        row = _with_intercept(trial.features)
        rest, opaque = math.expm1(row[1]), math.expm1(row[2])
        ratio = max(trial.stored_bytes - opaque - 1, 1.0) / max(rest, 1.0)
        left = math.log(min(max(ratio, LEAST_RATIO), MOST_RATIO)) - sum(map(float.__mul__, row, prior))
        for first, value in enumerate(row):
            vector[first] += value * left
            for second, other in enumerate(row):
                matrix[first][second] += value * other
    return tuple(before + change for before, change in zip(prior, _solve(matrix, vector), strict=True))


def _solve(matrix: list[list[float]], vector: list[float]) -> list[float]:
    """The solution of a symmetric positive definite system, by Gauss elimination (no pivots are needed for such)."""
    size = len(vector)
    rows = [[*row, value] for row, value in zip(matrix, vector, strict=True)]
    for place in range(size):
        for below in range(place + 1, size):
            factor = rows[below][place] / rows[place][place]
            rows[below] = [value - factor * above for value, above in zip(rows[below], rows[place], strict=True)]
    solution = [0.0] * size
    for place in reversed(range(size)):
        known = math.fsum(rows[place][column] * solution[column] for column in range(place + 1, size))
        solution[place] = (rows[place][size] - known) / rows[place][place]
    return solution
