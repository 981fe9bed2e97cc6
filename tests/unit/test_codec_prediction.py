"""Choosing a codec from features of a segment."""

from __future__ import annotations

import json
import math
import random

import pytest
from guestcomms.codec_prediction import FEATURES, PRIOR, Predictor, Trial, evaluate, features
from guestcomms.compression import CODECS, Dictionary

TEXT = b"\0".join([b"Dear guests, the shuttle leaves the hotel at nine.", b"Thank you so much!", b"Is there a vegan menu?"] * 4)
SLOPES = {"stored": 0.0, "gzip": -0.4, "zstd": -0.5, "zstd_dict": -1.0}


def measured(chance: random.Random) -> list[float]:
    """Features of some segment."""
    return [
        math.log1p(chance.randrange(500, 5000)),
        math.log1p(chance.randrange(0, 2000)),
        *(chance.random() for _ in FEATURES[2:]),
    ]


def trial(values: list[float], codec: str, level: int, noise: float = 0.0) -> Trial:
    """A codec that gets better the more of a template a segment is, and by a little with its level."""
    ratio = math.exp(SLOPES[codec] * (0.5 + values[FEATURES.index("template")]) - level / 100 + noise)
    return Trial(values, codec, level, round(math.expm1(values[1]) + 1 + math.expm1(values[0]) * ratio))


def segments(count: int, seed: int, noise: float = 0.0) -> list[list[Trial]]:
    """Trials of all candidates."""
    chance = random.Random(seed)
    made = [measured(chance) for _ in range(count)]
    return [[trial(values, codec, level, chance.gauss(0, noise)) for codec, level in CODECS] for values in made]


def flat(groups: list[list[Trial]]) -> list[Trial]:
    """All trials of all segments."""
    return [each for group in groups for each in group]


def named(values: list[float]) -> dict[str, float]:
    """Features by name."""
    return dict(zip(FEATURES, values, strict=True))


def test_features_say_what_they_are_called() -> None:
    values = named(features(TEXT, 99, Dictionary(TEXT), 1.0))
    assert values["log_bytes"] == pytest.approx(math.log(len(TEXT) + 1))
    assert values["log_opaque_bytes"] == pytest.approx(math.log(100))
    assert values["distinct"] == len(set(TEXT)) / 256
    assert values["template"] == 1
    assert values["age"] == pytest.approx(math.log(2) / 10)
    assert 0.6 < values["repeated"] < 0.8
    other = named(features(random.Random(1).randbytes(4096), 0, Dictionary(TEXT), 0.0))
    assert (other["template"], other["age"], other["log_opaque_bytes"]) == (0, 0, 0)
    assert other["repeated"] < 0.01
    assert values["entropy"] < 0.6 < 0.99 < other["entropy"] <= 1


def test_half_a_template_is_half_found() -> None:
    half = TEXT[:128] + random.Random(2).randbytes(128)
    assert named(features(half, 0, Dictionary(TEXT), 0.0))["template"] == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("rest", [b"\1", b"\1\2\3", bytes(1 << 20)], ids=["one", "three", "zeros"])
@pytest.mark.parametrize("dictionary", [None, Dictionary(TEXT), Dictionary(b"")], ids=["none", "some", "empty"])
def test_any_segment_has_features_and_a_codec(rest: bytes, dictionary: Dictionary | None) -> None:
    values = features(rest, 0, dictionary, -1.0)
    assert len(values) == len(FEATURES)
    assert all(map(math.isfinite, values))
    assert Predictor.prior().choose(values, CODECS) in CODECS


def test_the_prior_knows_that_text_shrinks_and_random_bytes_do_not() -> None:
    text = Predictor.prior().predict(features(TEXT, 50, Dictionary(TEXT), 0.0))
    assert text["stored", 0] == pytest.approx(len(TEXT) + 51)
    assert text["zstd_dict", 19] < text["gzip", 6] < text["stored", 0]
    noise = features(random.Random(1).randbytes(3000), 50, None, 0.0)
    assert Predictor.prior().predict(noise)["zstd", 19] > 2000


def test_no_trials_leave_the_prior() -> None:
    values = measured(random.Random(3))
    assert Predictor.fit([]).predict(values) == Predictor.prior().predict(values)
    learned = Predictor.fit([trial(values, "gzip", 6)])
    assert learned.coefficients["zstd", 19] == PRIOR["zstd", 19]
    assert learned.coefficients["gzip", 6] != PRIOR["gzip", 6]


def test_what_trials_showed_is_predicted() -> None:
    learned = Predictor.fit(flat(segments(300, seed=1, noise=0.02)))
    after, before = (evaluate(each, segments(100, seed=2, noise=0.02)) for each in (learned, Predictor.prior()))
    assert after.error < 0.05 < before.error
    assert after.regret < 0.03
    assert after.regret < before.regret
    assert after.slope == pytest.approx(1, abs=0.05)
    assert after.bias == pytest.approx(1, abs=0.02)
    assert after.segments == 100


def test_one_odd_trial_changes_little() -> None:
    values = measured(random.Random(5))
    odd = Trial(values, "zstd", 3, round(math.expm1(values[1]) + 2))
    learned = Predictor.fit([*flat(segments(200, seed=1)), odd]).predict(values)["zstd", 3]
    assert learned == pytest.approx(trial(values, "zstd", 3).stored_bytes, rel=0.1)


def constant(ratios: dict[tuple[str, int], float]) -> Predictor:
    """A predictor of the same ratio for any segment."""
    return Predictor({candidate: (math.log(ratio), *[0.0] * len(FEATURES)) for candidate, ratio in ratios.items()})


def test_the_least_effort_within_the_tolerance_is_chosen() -> None:
    values = [math.log1p(10_000), 0.0, *[0.0] * 5]
    predictor = constant(dict(zip(CODECS, (1.0, 0.52, 0.515, 0.51, 0.505, 0.5), strict=True)))
    assert predictor.choose(values, CODECS, 0.0) == ("zstd_dict", 19)
    assert predictor.choose(values, CODECS, 0.015) == ("zstd", 19)
    assert predictor.choose(values, CODECS) == ("zstd_dict", 3)
    assert predictor.choose(list(values), list(reversed(CODECS)), 0.05) == ("gzip", 6)
    assert predictor.choose(values, CODECS, 1.5) == ("stored", 0)
    assert predictor.choose(values, [("stored", 0), ("gzip", 6)]) == ("gzip", 6)
    with pytest.raises(ValueError, match="candidate"):
        predictor.choose(values, [("lz4", 1)])


def test_the_tolerance_counts_the_opaque_part() -> None:
    predictor = constant(dict(zip(CODECS, (1.0, 0.6, 0.6, 0.6, 0.6, 0.5), strict=True)))
    assert predictor.choose([math.log1p(1000), 0.0, *[0.0] * 5], CODECS) == ("zstd_dict", 19)
    assert predictor.choose([math.log1p(1000), math.log1p(9000), *[0.0] * 5], CODECS) == ("gzip", 6)


def test_predictions_stay_within_reason() -> None:
    values = [math.log1p(1000), math.log1p(10), *[0.0] * 5]
    assert constant({("gzip", 6): 1e-300}).predict(values)["gzip", 6] >= 11
    assert constant({("gzip", 6): 1e300}).predict(values)["gzip", 6] < 1500


def test_evaluation_counts_bytes() -> None:
    values = [math.log1p(1000), 0.0, *[0.0] * 5]
    predictor = constant({("stored", 0): 0.999, ("gzip", 6): 0.399, ("zstd", 3): 0.499})
    trials = [Trial(values, "stored", 0, 1000), Trial(values, "gzip", 6, 800), Trial(values, "zstd", 3, 400)]
    found = evaluate(predictor, [trials, trials])
    assert found.regret == pytest.approx(1.0)
    assert found.error == pytest.approx((0 + 0.5 + 0.25) / 3, abs=0.01)
    assert found.bias == pytest.approx((1 + 2 + 0.8) / 3, abs=0.01)
    assert 0 < found.slope < 1
    assert found.segments == 2


def test_perfect_predictions_have_no_error() -> None:
    values = [math.log1p(1000), 0.0, *[0.0] * 5]
    predictor = constant({("stored", 0): 0.999, ("gzip", 6): 0.399})
    found = evaluate(predictor, [[Trial(values, "stored", 0, 1000), Trial(values, "gzip", 6, 400)]])
    assert tuple(found) == pytest.approx((0, 0, 1, 1, 1))
    with pytest.raises(ValueError, match="nothing"):
        evaluate(predictor, [])


def test_predictors_survive_json() -> None:
    learned = Predictor.fit(flat(segments(50, seed=1)))
    values = measured(random.Random(9))
    assert Predictor.from_json(learned.to_json()).predict(values) == learned.predict(values)
    assert Predictor.from_json("{}").predict(values) == Predictor.prior().predict(values)


@pytest.mark.parametrize(
    "value", [[], {"gzip/6": [1.0]}, {"gzip": [0.0] * 8}, {"gzip/6": ["a"] * 8}, {"gzip/6": [math.nan] * 8}, 1]
)
def test_other_json_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        Predictor.from_json(json.dumps(value))


def test_a_codec_that_nothing_predicts_is_left_out() -> None:
    measured = features(b"text" * 100, 10, None, 0.0)
    trials = [Trial(measured, "gzip", 6, 100), Trial(measured, "stored", 0, 411), Trial(measured, "unknown", 1, 90)]
    evaluation = evaluate(Predictor.prior(), [trials])
    assert evaluation.segments == 1
    assert evaluation.regret > 0
