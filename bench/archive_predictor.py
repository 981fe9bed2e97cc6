"""How well codecs are chosen: on segments whose trials were not learned from, before learning and after."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import timedelta
from hashlib import md5

from bench.archive_data import add_policies, empty_store, mixed_messages, month_before_last, move_before, settle_all
from bench.archive_ratios import use_plpython
from bench.common import Report
from bench.corpus import load_tenant
from bench.store import open_tenant
from bench.warehouse_refresh import autocommitting

TRIALS = "SELECT segment_id::text, features, codec, level, stored_bytes FROM guestcomms.archive_codec_trials ORDER BY 1, 3, 4"
ALWAYS = ("zstd_dict", 19)


def add_predictor(report: Report, messages: int) -> None:
    """In a store of its own with messages of which no one codec is best for all."""
    use_plpython()
    from guestcomms.codec_prediction import Predictor, Trial, evaluate

    mixed = sorted(move_before(mixed_messages(messages), month_before_last()), key=lambda message: message.sent_at)
    with empty_store(mixed[0].sent_at.date() - timedelta(days=1)) as (_, connection):
        tenant = load_tenant(connection, "mixed", mixed)
        settle_all(connection)
        add_policies(connection, [tenant], None)
        with autocommitting(connection):
            connection.execute("CALL guestcomms.run_archive_batches('1 day')")
        with open_tenant(connection, tenant):
            connection.execute("SELECT FROM guestcomms.check_codec_predictions(10000)")
        trials = connection.execute(TRIALS).fetchall()
        connection.commit()
    segments: dict[str, list[Trial]] = defaultdict(list)
    for segment_id, *trial in trials:
        segments[segment_id].append(Trial(*trial))
    learned: list[Trial] = []
    held: list[list[Trial]] = []
    for segment_id, tried in segments.items():
        if md5(segment_id.encode()).digest()[0] % 2:
            learned += tried
        else:
            held.append(tried)
    before, after = evaluate(Predictor.prior(), held), evaluate(Predictor.fit(learned), held)
    title = f"mixed: {len(held):,} segments held out"
    for name, prior, fitted in (("mean regret", before.regret, after.regret), ("mean error", before.error, after.error)):
        report.add(f"{title}, {name} before learning", 100 * prior, "%", "itself", 1)
        report.add(
            f"{title}, {name} after", 100 * fitted, "%", f"before learning ({100 * prior:.2f} %)", fitted / max(prior, 1e-9)
        )
    always = [
        {(t.codec, t.level): t.stored_bytes for t in tried}[ALWAYS] / min(t.stored_bytes for t in tried) - 1 for tried in held
    ]
    fixed = sum(always) / len(always)
    name = f"always {ALWAYS[0]} {ALWAYS[1]} ({100 * fixed:.2f} %)"
    report.add(f"{title}, mean regret after", 100 * after.regret, "%", name, after.regret / max(fixed, 1e-9))
    report.add(f"{title}, bytes per byte predicted before", before.bias, "x", "right", before.bias, "1")
    report.add(f"{title}, bytes per byte predicted after", after.bias, "x", "right", after.bias, "1")
    best = Counter(" ".join(map(str, min((t.stored_bytes, t.codec, t.level) for t in tried)[1:])) for tried in held)
    report.notes.append(
        "Mixed, best codec: " + ", ".join(f"{codec} of {count:,}" for codec, count in best.most_common()) + " segments."
    )
