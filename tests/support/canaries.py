"""Words planted wherever a guest's text can get to, and a search for them in everything a database holds.

A word is looked for as it is, as hexadecimal digits and in base64, in every row of every table, in segments of the archive and in
files of exports after decoding, in statistics of the planner and of statements, and in the keys of indexes."""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
import zlib
from dataclasses import dataclass, field
from uuid import UUID

from psycopg import sql

from tests.support.archive import Archive
from tests.support.database import Connection
from tests.support.queries import column, one, rows

# Columns that may hold what a guest wrote, by their retention class; keywords and codes among them are named by the tests.
COLUMNS = r"""
    SELECT format('%s.%s', c.oid::regclass, a.attname)
    FROM pg_class AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace::regnamespace::text LIKE 'guestcomms%' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
        AND c.relname NOT LIKE '%\_template'
        AND a.atttypid::regtype::text IN ('text', 'text[]', 'jsonb', 'bytea', 'tsvector', 'tsquery')
        AND col_description(c.oid, a.attnum) ~ '\[retention: (contact|content|behaviour)\]'
    ORDER BY 1"""
RELATIONS = """
    SELECT c.oid::regclass::text FROM pg_class AS c
    WHERE c.relkind IN ('r', 'm') AND c.relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    UNION ALL
    SELECT n.name
    FROM (VALUES ('pg_catalog.pg_stats'), ('pg_catalog.pg_largeobject'),
        ((SELECT x.extnamespace::regnamespace || '.pg_stat_statements' FROM pg_extension AS x
            WHERE x.extname = 'pg_stat_statements'))
    ) AS n (name)
    WHERE n.name IS NOT NULL"""
SEGMENTS = """
    SELECT guestcomms_internal.read_segment(s.tenant_id, s.segment_id, true)::text FROM guestcomms.archive_segments AS s"""
INDEXES = """
    SELECT c.oid::regclass::text, pg_relation_size(c.oid) / 8192 FROM pg_class AS c JOIN pg_am AS a ON a.oid = c.relam
    WHERE c.relkind = 'i' AND a.amname IN ('gin', 'btree') AND c.relnamespace::regnamespace::text LIKE 'guestcomms%'"""


def forms(word: str) -> list[str]:
    """A word as it may be written: itself, in hexadecimal digits, in base64 at any place."""
    data = word.encode()
    encoded = {base64.b64encode(b"\0" * shift + data)[(shift * 8 + 5) // 6 :].decode().rstrip("=")[:-2] for shift in range(3)}
    return [word, data.hex(), *encoded]


# What all words have in common, and nothing else.
MARK = "zqkvjw"


def pattern(words: list[str]) -> re.Pattern[str]:
    by_form = {form: word for word in words for form in forms(word)}
    return re.compile("|".join(re.escape(form) for form in sorted(by_form)), re.IGNORECASE)


def unpacked(data: bytes) -> str:
    """A file of an export, or a piece of one, as text."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return "\n".join(archive.read(name).decode(errors="replace") for name in archive.namelist())
    except zipfile.BadZipFile:
        try:
            return zlib.decompressobj(-15).decompress(data).decode(errors="replace")
        except zlib.error:
            return data.decode(errors="replace")


def scan(connection: Connection, words: list[str]) -> dict[str, set[str]]:
    """Where which words are: tables and columns by name."""
    expected = pattern(words)
    marked = pattern([MARK])
    found: dict[str, set[str]] = {}

    def look(place: str, content: str) -> None:
        if marked.search(content) and (hits := set(expected.findall(content))):
            found.setdefault(place, set()).update(hits)

    for relation in column(connection, RELATIONS.encode()):
        for (row,) in rows(connection, f"SELECT to_jsonb(t)::text FROM {relation} AS t".encode()):
            if marked.search(row):
                for name, value in json.loads(row).items():
                    look(f"{relation}.{name}", json.dumps(value, ensure_ascii=False))
    for (content,) in rows(connection, SEGMENTS.encode()):
        look("guestcomms.archive_segments.payload", content or "")
    parts = "SELECT string_agg(data, ''::bytea ORDER BY part_number) FROM guestcomms_internal.export_parts GROUP BY export_id"
    for (data,) in rows(connection, parts.encode()):
        look("guestcomms_internal.export_parts.data", unpacked(data))
    pieces = "SELECT data FROM guestcomms_internal.export_fragments"
    for (data,) in rows(connection, pieces.encode()):
        look("guestcomms_internal.export_fragments.data", unpacked(data))
    return found


def items(page: bytes) -> bytes:
    """What a page of an index points to; what it no longer points to is left out."""
    lower, special = int.from_bytes(page[12:14], "little"), int.from_bytes(page[16:18], "little")
    pointers = [int.from_bytes(page[place : place + 4], "little") for place in range(24, min(lower, special), 4)]
    return b"\0".join(
        page[pointer & 0x7FFF : (pointer & 0x7FFF) + (pointer >> 17)] for pointer in pointers if (pointer >> 15) & 3 in (1, 3)
    )


def scan_indexes(connection: Connection, words: list[str]) -> dict[str, set[str]]:
    """Indexes that have any of the words as a key, though it may point to nothing."""
    expected = pattern(words)
    found: dict[str, set[str]] = {}
    for index, pages in rows(connection, INDEXES.encode()):
        for (page,) in rows(connection, "SELECT testing.get_raw_page(%s, n) FROM generate_series(0, %s) AS n", index, pages - 1):
            content = items(page).decode("utf-8", errors="replace")
            if MARK in content and (hits := set(expected.findall(content))):
                found.setdefault(index, set()).update(hits)
    return found


@dataclass
class Planted:
    """A guest, and another who was merged into them, whose texts are everywhere; each word is of one place."""

    guest_id: UUID
    words: list[str] = field(default_factory=list)

    def word(self, name: str) -> str:
        """A new word, of letters only, that is no stem of another and stems to itself."""
        made = f"{name}{MARK}{len(self.words):03d}".translate(str.maketrans("0123456789", "bcdfghjklm")) + "zok"
        self.words.append(made)
        return made


def plant(archive: Archive) -> Planted:
    """One guest's texts in every place, through the ways that lead there."""
    root, tenant = archive.root, archive.tenant
    for name, value in (("suggest.min_guests", "1"), ("query_log.is_enabled", "true")):
        root.execute("SELECT guestcomms.set_setting(%s, %s)", [name, value])
    planted = Planted(UUID(int=0))
    word = planted.word
    first, last, mail = word("firstname"), word("lastname"), word("mailbox")
    guest = planted.guest_id = one(
        root, "SELECT guestcomms.add_guest(%s, email => %s, language => 'en')", f"{first} {last}", f"{mail}@example.com"
    )
    for purpose, channel in (("marketing", None), ("service", "email")):
        archive.add(
            "consents",
            guest_id=guest,
            purpose=purpose,
            channel=channel,
            is_granted=False,
            basis="consent",
            source=word("consent"),
        )
    wedding = one(
        root, "INSERT INTO guestcomms.weddings (tenant_id, name) VALUES (%s, %s) RETURNING wedding_id", tenant, f"{first} & Tom"
    )
    archive.add(
        "wedding_guests", wedding_id=wedding, guest_id=guest, party=word("party"), role=f"bride {word('role')}", rsvp="yes"
    )
    thread = one(root, "SELECT guestcomms.open_thread(%s, %s, %s)", word("thread"), guest, wedding)
    plant_messages(archive, planted, thread)
    plant_merged(archive, planted)
    plant_searches(archive, planted, f"{first} {last}", mail)
    plant_proof(archive, planted)
    # Left behind by an application that has not called run_import().
    archive.add(
        "import_messages", guest_id=guest, subject=word("import"), body=word("import"), metadata=f'{{"a": "{word("import")}"}}'
    )
    root.execute("INSERT INTO guestcomms.import_guest_lines (line) VALUES (%s)", [f"{first} {last},{mail}@example.com"])
    while one(root, "SELECT guestcomms.refresh_warehouse(time_budget => '1 hour')"):
        pass
    with root.transaction():
        while one(root, "SELECT guestcomms.refresh_reports(max_age => '0 seconds')"):
            pass
    plant_exports(archive, planted)
    plant_late(archive, planted, thread)
    return planted


def plant_messages(archive: Archive, planted: Planted, thread: UUID) -> None:
    """Archived and new ones, with all that belongs to them."""
    word = planted.word
    for days, kind in ((300, "old"), (298, "old"), (65, "detached"), (20, "new"), (19, "sent")):
        message = archive.write(
            planted.guest_id, thread, days, direction="outbound" if kind == "sent" else "inbound",
            subject=word(f"{kind}subject"), body=f"seating {word(f'{kind}body')}", external_id=f"{word(f'{kind}key')}@mail",
            metadata=f'{{"note": "{word(f"{kind}metadata")}"}}', source="mailgun",
        )  # fmt: skip
        add_details(archive, planted, message, kind)
        if kind == "new":
            archive.root.execute("SELECT guestcomms.edit_message(%s, %s)", [message, word("edited")])
    archive.archive()
    assert len(archive.archived()) == 3
    partition = one(
        archive.root,
        "SELECT tableoid::regclass::text FROM guestcomms.messages WHERE tenant_id = %s AND subject ~ '^detached'",
        archive.tenant,
    )
    while one(archive.root, "SELECT guestcomms.refresh_warehouse(time_budget => '1 hour')"):
        pass
    archive.root.execute(f"ALTER TABLE guestcomms.messages DETACH PARTITION {partition}")


def add_details(archive: Archive, planted: Planted, message: UUID, kind: str) -> None:
    word = planted.word
    archive.root.execute(
        "SELECT guestcomms.record_event(%s, 'clicked', detail => jsonb_build_object('link', %s::text), event_external_id => %s)",
        [message, word(f"{kind}event"), word(f"{kind}eventkey")],
    )
    archive.add(
        "message_versions",
        message_id=message,
        version_number=7,
        subject=word(f"{kind}version"),
        body=word(f"{kind}version"),
        replaced_by="Ann",
    )
    archive.add(
        "attachments",
        message_id=message,
        name=word(f"{kind}file"),
        uri=f"s3://{word(f'{kind}uri')}",
        media_type="image/jpeg",
        byte_count=1,
    )
    archive.add(
        "message_annotations", message_id=message, kind=word(f"{kind}kind"), value=f'"{word(f"{kind}value")}"', annotator="test"
    )


def plant_merged(archive: Archive, planted: Planted) -> None:
    """Who was merged into the guest is the same person."""
    merged = archive.guest(planted.word("merged"))
    archive.root.execute("SELECT guestcomms.add_guest_address(%s, 'chat', %s)", [merged, planted.word("mergedchat")])
    message = archive.write(merged, archive.thread(merged), 18, body=f"seating {planted.word('merged')}")
    one(archive.root, "SELECT guestcomms.merge_guests(%s, %s)", planted.guest_id, merged)
    add_details(archive, planted, message, "merged")


def plant_searches(archive: Archive, planted: Planted, name: str, mail: str) -> None:
    """Counted words, saved and logged searches."""
    root = archive.root
    while one(root, "SELECT guestcomms.refresh_term_statistics()"):
        pass
    heard = planted.word("heard")
    archive.write(
        planted.guest_id, one(root, "SELECT guestcomms.open_thread(NULL, %s)", planted.guest_id), 17, body=f"seating {heard}"
    )
    while one(root, "SELECT guestcomms.refresh_term_statistics()"):
        pass
    for number, query in enumerate((heard, f"from:{mail}@example.com", f'"{name}"')):
        one(root, "SELECT guestcomms.save_search(%s, %s)", f"search {number} {query}", query)
        one(root, "SELECT guestcomms.record_search(%s, 1, 'all words')", query)
    while one(root, "SELECT guestcomms.match_saved_searches()"):
        pass
    archive.add("synonyms", term=name.split()[0], alternatives=[name])


def plant_proof(archive: Archive, planted: Planted) -> None:
    """Requests with notes, details of the audit trail."""
    root = archive.root
    request = one(root, "SELECT guestcomms.open_request(%s, 'access', note => %s)", planted.guest_id, planted.word("request"))
    root.execute("SELECT guestcomms.withdraw_request(%s, %s)", [request, planted.word("withdrawn")])
    root.execute(
        "SELECT guestcomms_internal.record_audit(%s, 'look', 'guest', jsonb_build_object('guest_id', %s::text, 'why', %s::text))",
        [archive.tenant, planted.guest_id, planted.word("audit")],
    )


def plant_exports(archive: Archive, planted: Planted) -> None:
    """One that is ready, one of all of the tenant, one that is being written."""
    root = archive.root
    one(root, "SELECT guestcomms.export_guest(%s, '{jsonl,html}')", planted.guest_id)
    one(root, "SELECT guestcomms.anonymized_copy()")
    root.execute("SELECT guestcomms.set_setting('privacy.export_at_once', '0')")
    export = one(root, "SELECT guestcomms.export_guest(%s, '{jsonl}', compress => false)", planted.guest_id)
    for _ in range(3):
        assert one(root, "SELECT guestcomms_internal.step_export(%s, %s)", archive.tenant, export)


def plant_late(archive: Archive, planted: Planted, thread: UUID) -> None:
    """What came late for archived messages, and edits that nobody has counted yet."""
    late = one(
        archive.root, "SELECT message_ids[1] FROM guestcomms.archive_segments WHERE guest_id = %s LIMIT 1", planted.guest_id
    )
    add_details(archive, planted, late, "late")
    message = archive.write(
        planted.guest_id, thread, 16, subject=planted.word("before"), body=planted.word("before"), language=None
    )
    archive.root.execute("SELECT guestcomms.edit_message(%s, %s, %s)", [message, planted.word("after"), planted.word("after")])


def clean(connection: Connection) -> None:
    """What comes after an erasure: vacuum, indexes made anew, and the object store confirms."""
    statement = (
        "SELECT guestcomms.confirm_attachment_removal(ARRAY(SELECT removal_id FROM guestcomms.list_attachment_removals(1000)))"
    )
    connection.execute(statement)
    connection.execute("VACUUM")
    for (command,) in rows(connection, "SELECT command FROM guestcomms.list_erased_indexes()"):
        connection.execute(sql.SQL(command))
    assert rows(connection, "SELECT index_name FROM guestcomms.list_erased_indexes()") == []
