"""Neither the server's log nor pg_stat_statements has a guest's text or a secret in it, whatever went wrong.

Runs last, and then looks for what all tests before it wrote, too.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.archive import Archive
from tests.support.exports import ask, read
from tests.support.queries import one, rows
from tests.support.secrecy import Secrecy, logged, statements
from tests.support.store import Store

NAME = "Wilhelmina Quokkason"
ADDRESS = "wilhelmina@quokka.example"
BODY = "the quokka brings her own telescope, call +49 30 1234567"
PASSPHRASE = "numbat potoroo bilby wombat"
# Each goes wrong; %s are texts that must not be told on.
WRONG = (
    ("SELECT guestcomms.record_message(gen_random_uuid(), 'inbound', 'email', %s)", (BODY,)),
    ("SELECT guestcomms.record_message(guestcomms.resolve_guest('email', %s), 'inbound', 'pigeon', %s)", (ADDRESS, BODY)),
    ("SELECT guestcomms.resolve_guest('email', %s || '@' || %s)", (ADDRESS, NAME)),
    ("SELECT guestcomms.resolve_guest('pigeon', %s, display_name => %s)", (ADDRESS, NAME)),
    ("SELECT guestcomms.set_export_key(repeat('n', 500), %s)", (PASSPHRASE,)),
    ("SELECT guestcomms.set_export_key('office', %s || chr(10))", (PASSPHRASE,)),
    ("SELECT guestcomms.export_guest(guestcomms.resolve_guest('email', %s), recipient_key => %s)", (ADDRESS, PASSPHRASE)),
    ("SELECT guestcomms.detect_personal_data(%s, 7)", (BODY,)),
    ("SELECT * FROM guestcomms.search_messages(%s, max_rows => -1)", (BODY,)),
    ("SELECT guestcomms.use_token(%s)", (PASSPHRASE,)),
    ("SELECT * FROM guestcomms.import_export(convert_to(%s, 'UTF8'))", (BODY,)),
)


@pytest.fixture
def office(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        yield archive


def spoiled(data: bytes) -> bytes:
    """An export whose message names a channel that there is not, its manifest fitting."""
    import hashlib

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(files["manifest.json"])
    changed = files["jsonl/messages.jsonl"].replace(b'"email"', b'"pigeon"')
    files["jsonl/messages.jsonl"] = changed
    for file in manifest["files"]:
        if file["name"] == "jsonl/messages.jsonl":
            file |= {"bytes": len(changed), "sha256": hashlib.sha256(changed).hexdigest()}
    files["manifest.json"] = json.dumps(manifest).encode()
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return result.getvalue()


def use(office: Archive) -> None:
    """What a business does with a guest's texts, and what goes wrong with it."""
    root = office.root
    guest = one(root, "SELECT guestcomms.resolve_guest('email', %s, display_name => %s)", ADDRESS, NAME)
    thread = office.thread(guest)
    for day in (300, 200):
        office.write(guest, thread, day, body=BODY, channel="email", external_id=f"canary {day}")
    root.execute("SELECT guestcomms.set_export_key('canary', %s)", [PASSPHRASE])
    rows(root, "SELECT * FROM guestcomms.search_messages(%s)", BODY)
    rows(root, "SELECT guestcomms.anonymize_text(%s)", BODY)
    ask(root, guest, formats=["html", "sql", "mbox"], recipient_key="canary", redact_others=True)
    data = read(root, ask(root, guest, formats=["jsonl"]))
    office.policy(older_than="250 days")
    office.archive()
    wrong = [*WRONG, ("SELECT * FROM guestcomms.import_export(%s)", (spoiled(data),))]
    root.execute("DELETE FROM guestcomms.messages WHERE tenant_id = %s", [office.tenant])
    for query, values in wrong:
        with pytest.raises(psycopg.Error):
            root.execute(query.encode(), values)


def test_nobody_who_looks_after_the_server_reads_guests_texts(office: Archive, secrecy: Secrecy, stage: Path) -> None:
    cluster = office.store.database.cluster
    secrecy.own_words = "".join(path.read_text(encoding="utf-8") for path in stage.rglob("guestcomms--*.sql"))
    use(office)
    secrecy.gather(cluster, office.store.database.name)
    secrecy.values.update((NAME, ADDRESS, BODY, PASSPHRASE))
    log = list(logged(cluster.log_path.read_text()))
    assert len(log) > len(WRONG)
    assert secrecy.found_in(log) == set()
    kept = statements(cluster)
    assert any("search_messages($1)" in query for query in kept)
    assert secrecy.found_in(kept) == set()


def test_a_text_in_the_log_would_be_found(office: Archive, secrecy: Secrecy) -> None:
    """RAISE with a guest's text, as a careless function would have it."""
    cluster = office.store.database.cluster
    office.root.execute("SET log_min_messages = notice")
    careless = "DO $$ BEGIN RAISE NOTICE 'message is: the numbat plays %', 'a very long harpsichord'; END $$"
    office.root.execute(careless.encode())
    found = Secrecy({"the numbat plays a very long harpsichord", "nobody ever wrote this"})
    assert found.found_in(logged(cluster.log_path.read_text())) == {"the numbat plays a very long harpsichord"}
