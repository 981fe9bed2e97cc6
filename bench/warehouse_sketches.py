"""How far sketches are off, by tenant and month: distinct guests (hll), median and 90th percentile of times (tdigest)."""

from __future__ import annotations

from dataclasses import dataclass

from bench.common import Connection

SCHEMA = "SELECT guestcomms_internal.trusted_schema(%s)"
GUESTS = """
    WITH exact AS (
        SELECT f.tenant_id, date_trunc('month', f.sent_date_key::timestamp) AS month, count(DISTINCT f.guest_id) AS guests
        FROM guestcomms_bi.fact_message AS f WHERE f.guest_id <> guestcomms_internal.no_member()
        GROUP BY 1, 2 HAVING count(DISTINCT f.guest_id) >= 100
    ), sketched AS (
        SELECT a.tenant_id, date_trunc('month', a.date_key::timestamp) AS month,
            {schema}.hll_cardinality({schema}.hll_union_agg(a.guests)) AS guests
        FROM guestcomms_bi.agg_guest_day AS a GROUP BY 1, 2
    )
    SELECT count(*), avg(abs(s.guests / e.guests - 1)), max(abs(s.guests / e.guests - 1)) FROM exact AS e
        JOIN sketched AS s USING (tenant_id, month)
"""
# The rank error: how far the share of values below the estimate is from what was asked for; values equal to it count half.
RESPONSES = """
    WITH exact AS (
        SELECT f.tenant_id, date_trunc('month', f.sent_date_key::timestamp) AS month, array_agg(f.response_seconds) AS seconds,
            percentile_cont({share}) WITHIN GROUP (ORDER BY f.response_seconds) AS value
        FROM guestcomms_bi.fact_message AS f WHERE f.response_seconds IS NOT NULL
        GROUP BY 1, 2 HAVING count(*) >= 100
    ), sketched AS (
        SELECT a.tenant_id, date_trunc('month', a.date_key::timestamp) AS month,
            {schema}.tdigest_percentile(a.response_times, {share}) AS value
        FROM guestcomms_bi.agg_response_day AS a GROUP BY 1, 2
    )
    SELECT count(*), avg(abs(s.value / e.value - 1)), max(abs(s.value / e.value - 1)), avg(abs(r.share - {share})),
        max(abs(r.share - {share}))
    FROM exact AS e JOIN sketched AS s USING (tenant_id, month)
    CROSS JOIN LATERAL (
        SELECT avg(CASE WHEN v < s.value THEN 1 WHEN v = s.value THEN 0.5 ELSE 0 END)::double precision AS share
            FROM unnest(e.seconds) AS v
    ) AS r
"""


@dataclass(frozen=True)
class Errors:
    """Of what, in how many tenant-months, mean and greatest error; shares of 1."""

    name: str
    groups: int
    mean: float
    greatest: float


def schema_of(connection: Connection, extension: str) -> str | None:
    (name,) = connection.execute(SCHEMA, [extension]).fetchone() or (None,)
    return None if name is None else str(name)


def sketch_errors(connection: Connection) -> list[Errors]:
    """Nothing for an extension that is not installed, or where no tenant-month has enough."""
    found = []
    if schema := schema_of(connection, "hll"):
        groups, *errors = connection.execute(GUESTS.format(schema=schema)).fetchone() or (0, 0, 0)
        found.append(Errors("guest_count (hll) to count(DISTINCT)", groups, *errors))
    if schema := schema_of(connection, "tdigest"):
        for name, share in (("median", 0.5), ("p90", 0.9)):
            row = connection.execute(RESPONSES.format(schema=schema, share=share)).fetchone() or (0, 0, 0, 0, 0)
            found.append(Errors(f"{name} (tdigest) to percentile_cont(), value", row[0], row[1], row[2]))
            found.append(Errors(f"{name} (tdigest), rank", row[0], row[3], row[4]))
    return [errors for errors in found if errors.groups]
