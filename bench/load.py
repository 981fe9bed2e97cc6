"""Fill a store with the real data: every channel and language is a tenant, repeated under more tenants.

    python3 -m bench.load "$(make -s dsn)" --copies 3 --tenants 2

--copies gives a tenant that many times its messages, each copy as much earlier as the messages cover; --tenants adds that
many tenants per source, each moved a week into the past against the one before. Not a benchmark: it measures nothing.
"""

from __future__ import annotations

import argparse
import time

import psycopg

from bench import irc, sms
from bench.corpus import Message, first_day, load_tenant, move, repeat


def read_sources(limit: int | None) -> dict[str, list[Message]]:
    """Name of a tenant → its messages."""
    sources = {f"irc {channel}": irc.read_messages(limit, channel) for channel in irc.CHANNELS}
    return sources | {f"sms {language}": sms.read_messages(language, limit) for language in ("en", "zh")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dsn", help="of a superuser, in a database that holds a store")
    parser.add_argument("--copies", type=int, default=1, help="times a tenant's messages are repeated")
    parser.add_argument("--tenants", type=int, default=1, help="tenants per source")
    parser.add_argument("--limit", type=int, help="only the newest so many messages of every source")
    arguments = parser.parse_args()
    with psycopg.connect(arguments.dsn) as connection:
        for name, messages in read_sources(arguments.limit).items():
            for number in range(arguments.tenants):
                scaled = repeat(move(messages, 7 * number), arguments.copies)
                connection.execute("SELECT guestcomms.ensure_partitions(%s)", [first_day(scaled)])
                connection.commit()
                start = time.perf_counter()
                tenant = load_tenant(connection, f"{name} {number + 1}", scaled)
                seconds = time.perf_counter() - start
                print(f"{name} {number + 1}: {len(scaled):,} messages in {seconds:.0f} s, tenant {tenant.tenant_id}")
        connection.autocommit = True
        connection.execute("VACUUM ANALYZE")


if __name__ == "__main__":
    main()
