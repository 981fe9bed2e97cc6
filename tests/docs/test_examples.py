"""The SQL and Python of the README, the tutorial and the how-tos does what the page says, run from top to bottom.

A page's SQL goes through one psql, its Python through one namespace. An SQL block whose first line is a comment such as
`-- an operator, ...` is run by such a login, any other by the superuser. A block without a language is part of what
the block before it prints."""

from __future__ import annotations

import configparser
import csv
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.support import markdown, pgbouncer
from tests.support.database import Connection, Database
from tests.support.export_zip import make_export
from tests.support.markdown import ROOT, Block
from tests.support.psql import Psql
from tests.support.queries import one, rows
from tools.cluster import Cluster

TENANT = "6f9c0c3e-0d1f-4a53-9d2b-2f1d8d1f6a11"
APPLICATION = "rose_and_quill_app"
ANALYST = "metabase"
LOGINS = {
    "an operator": "operator_login",
    "the sign-in service": "issuer_login",
    "the application": APPLICATION,
    "the BI tool": ANALYST,
}
SPEAKER = re.compile(rf"-- ({'|'.join(LOGINS)})\b")
COMPLETE = re.compile(r"(;|\\gset|(?:^|\n)\\\S.*)$")
CONNECT = "docs/how-to/connect-an-application.md"
HISTORY_HEADER = "guest_id,direction,channel,subject,body,sent_at,external_id,source"
GUESTS_HEADER = "Full name,E-mail,Mobile,Table,RSVP,Shoe size"
TOKEN = "SELECT guestcomms.issue_token(%s)"
CONTAINERS = "needs Docker; tests/container does as much"
REPLAYED = "tests/integration/test_erasure_canaries.py restores a dump and replays the ledger"

ADD_TENANT = f"""
INSERT INTO guestcomms.tenants (tenant_id, name, timezone, language, region)
VALUES ('{TENANT}', 'Rose & Quill', 'Europe/London', 'en', 'GB');
SELECT guestcomms.use_tenant('{TENANT}', true);
SELECT guestcomms.record_message(guestcomms.resolve_guest('sms', '+44 7700 900124'), 'outbound', 'sms', 'Your seating plan',
    source => 'sms-provider', external_id => 'SM122');
"""
ADD_MEMBER = f"""
SELECT guestcomms.use_tenant('{TENANT}', true);
SELECT guestcomms.add_member('{APPLICATION}');
"""
SHUTTLES = f"""
SELECT guestcomms.use_tenant('{TENANT}', true);
SELECT guestcomms.record_message(guestcomms.resolve_guest('sms', '+44 7700 900124'), 'outbound', 'sms', body)
FROM (VALUES ('The shuttle leaves at nine'), ('A second shuttle, and parking, are behind the barn')) AS m (body);
"""
OLD_MESSAGES = """
SELECT count(*) FROM guestcomms.ensure_partitions(now() - interval '3 years');
SELECT guestcomms.record_event(kind => 'delivered', message_id => guestcomms.record_message(
    guestcomms.resolve_guest('sms', '+44 7700 900125'), 'outbound', 'sms', 'Vegetarian dish ' || number || ' is served',
    sent_at => now() - interval '2 years' + number * interval '1 day'))
FROM generate_series(1, 45) AS n (number);
"""
THANKS = "SELECT guestcomms.record_message(guestcomms.resolve_guest('sms', '+44 7700 900124'), 'inbound', 'sms', 'Thank you')"

THREAD = b"""
SELECT t.status, t.assigned_to, t.snoozed_until, t.last_direction,
    (SELECT count(*) FROM guestcomms.messages AS m WHERE m.thread_id = t.thread_id)
FROM guestcomms.threads AS t
"""
COUNT = "SELECT guestcomms.refresh_term_statistics()"
REFRESH = "SELECT guestcomms.refresh_warehouse()"


class Scene:
    """Where a page is run: its store, a directory of its own, what its Python sees."""

    def __init__(self, database: Database, directory: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
        self.database = database
        self.directory = directory
        self.stack = stack
        self.monkeypatch = monkeypatch
        self.namespace: dict[str, Any] = {}


def no_preparation(scene: Scene) -> None:
    """The page makes all it needs."""


def pooler_settings(page: str) -> dict[str, str]:
    """The settings that the page recommends, but for those of a machine's own."""
    (block,) = (block for block in markdown.blocks(page) if block.language == "ini")
    parser = configparser.ConfigParser()
    parser.read_string(block.text)
    return {name: value for name, value in parser["pgbouncer"].items() if not name.startswith(("listen_", "auth_"))}


def start_pooler(scene: Scene) -> None:
    """The application reaches the database by DATABASE_URL, through pgbouncer where there is one, and has a token."""
    dsn = scene.database.dsn(APPLICATION)
    if program := pgbouncer.find_program():
        settings = pooler_settings((ROOT / CONNECT).read_text(encoding="utf-8"))
        pooler = scene.stack.enter_context(pgbouncer.running_pgbouncer(program, scene.database, [APPLICATION], 1, settings))
        dsn = pooler.dsn(APPLICATION)
    scene.monkeypatch.setenv("DATABASE_URL", dsn)
    scene.namespace["token"] = one(scene.database.connect("issuer_login"), TOKEN, TENANT)


def check_inbox(scene: Scene, output: str) -> None:
    """One conversation: read, answered and assigned, put aside, and back with what the guest wrote last."""
    assert [thread.waits_for for thread in scene.namespace["page"]] == ["us", "guest"]
    assert scene.namespace["next_page"] == []
    ((thread,), (other,)) = (
        rows(scene.database.connect(), THREAD + condition)
        for condition in (b" WHERE t.unread_count = 1", b" WHERE t.unread_count = 0")
    )
    assert thread == ("open", "mira", None, "inbound", 3)
    assert other == ("open", None, None, "outbound", 1)
    scene.namespace["pool"].close()


def count_words(scene: Scene) -> None:
    """What the job does in the first minute."""
    with scene.database.connect() as superuser:
        while one(superuser, COUNT):
            pass


def write_guests(scene: Scene) -> None:
    """guests.csv, as the page shows it."""
    (block,) = (
        block
        for block in markdown.blocks((ROOT / "docs/how-to/import-guests.md").read_text(encoding="utf-8"))
        if block.language == "csv"
    )
    (scene.directory / "guests.csv").write_text(block.text, encoding="utf-8")


def write_history(scene: Scene) -> None:
    """messages.csv, with a message that comes twice and one that is no message."""
    with scene.database.connect() as superuser:
        superuser.execute(ADD_MEMBER)
        guest = one(superuser, "SELECT guest_id FROM guestcomms.guests")
    with (scene.directory / "messages.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HISTORY_HEADER.split(","))
        for number, body in enumerate(["Is there, by chance, a cot?", "Is there, by chance, a cot?", ""]):
            identifier = "old-1" if body else "old-2"
            writer.writerow([guest, "inbound", "email", "A cot", body, f"2021-02-0{number + 1}T10:00:00Z", identifier, "old-crm"])


def check_history(scene: Scene, output: str) -> None:
    """Imported, repeated, rejected: one each."""
    assert re.search(r"^ +1 \| +1 \| +1 \| \[\{", output, re.MULTILINE), output
    query = "SELECT source, external_id FROM guestcomms.messages WHERE sent_at < '2022-01-01'"
    assert rows(scene.database.connect(), query) == [("old-crm", "old-1")]


def connect_consumer(scene: Scene) -> None:
    """The consumer reaches the database by DATABASE_URL, as an operator."""
    scene.monkeypatch.setenv("DATABASE_URL", scene.database.dsn("operator_login"))


def check_consumer(scene: Scene, output: str) -> None:
    """Built once, from the one message there was; then told of what came later, once."""
    namespace = scene.namespace
    assert len(namespace["messages"]) == 1
    superuser = scene.database.connect()
    superuser.execute("SELECT guestcomms.use_tenant(%s, true)", [TENANT])
    message = one(superuser, THANKS)
    for _ in range(2):
        namespace["follow"](namespace["connection"])
    assert len(namespace["messages"]) == 2
    assert message in namespace["messages"]


def check_suggestions(scene: Scene, output: str) -> None:
    """The mistyped word is corrected, and found by."""
    assert "shuttle parking" in output
    assert "corrected words" in output


def add_another_business(scene: Scene) -> None:
    """Whose rows are for whoever sees all; and hll and tdigest on the search_path."""
    with scene.database.connect() as superuser:
        superuser.execute(f"ALTER DATABASE {scene.database.name} SET search_path = public, testing".encode())
        superuser.execute("SELECT guestcomms.add_tenant('Thistle & Vale')")
        refresh(superuser)


def refresh(superuser: Connection) -> None:
    """What the job does in the first minute."""
    while one(superuser, REFRESH):
        pass


def check_dashboard(scene: Scene, output: str) -> None:
    """One message by SMS, seen until few guests are hidden."""
    assert re.search(r"^ [^|]+\| sms +\| +1 \|", output, re.MULTILINE), output
    assert re.search(r"^ [^|]+\| sms +\| +\| t$", output, re.MULTILINE), output


def check_analyst(scene: Scene, output: str) -> None:
    """Its own tenant's rows before it sees all; numbers and sketches of the one message."""
    before, _, after = output.partition("grant_all_tenants")
    assert "Rose & Quill" in before
    assert "Thistle & Vale" not in output
    assert re.search(r"^ open_rate +\| ", after, re.MULTILINE), output
    assert re.search(r"^ \S+ +\| +1$", after, re.MULTILINE), output
    with scene.database.connect(ANALYST) as analyst:
        assert one(analyst, "SELECT count(*) FROM guestcomms_bi.dim_tenant") == 2
        assert one(analyst, "SELECT message_count FROM guestcomms_bi.mv_daily_channels") == 1


def check_sending(scene: Scene, output: str) -> None:
    """One was sent and delivered, one cancelled, one retried, one sent and deleted; nothing is left that is due."""
    found = rows(scene.database.connect(), "SELECT channel, status, body = '' FROM guestcomms.messages ORDER BY sent_at")
    assert found[1:] == [
        ("email", "delivered", False),
        ("email", "cancelled", False),
        ("sms", "queued", False),
        ("chat", "sent", True),
    ]
    assert scene.namespace["send_due"](scene.namespace["token"], "again") == 0


def check_alerts(scene: Scene, output: str) -> None:
    """One alert, acknowledged; a search that found nothing."""
    assert "last «shuttle» leave" in output
    assert re.search(r"^ +2 \| +0.5 \| +1 \| +1$", output, re.MULTILINE), output


def check_requests(scene: Scene, output: str) -> None:
    """One was answered in two steps, one extended, one refused."""
    assert "identity_confirmed" in output, output
    found = rows(scene.database.connect(), "SELECT status FROM guestcomms.subject_requests ORDER BY 1")
    assert found == [("answered",), ("open",), ("refused",)]


def check_export(scene: Scene, output: str) -> None:
    """A zip that is whole, one written by the job, an anonymised copy."""
    assert "Done testing" in output, output
    assert re.search(r"^waiting$.*^ready\|1\|1$", output, re.MULTILINE | re.DOTALL), output
    assert re.search(r"^ready\|anonymized-", output, re.MULTILINE), output


def check_erasure(_: Scene, output: str) -> None:
    assert re.search(r"^ +done +\| +0 +\| +0$", output, re.MULTILINE), output
    assert re.search(r"^ +guestcomms\.guest_addresses +\| removed +\| +1 \| +0$", output, re.MULTILINE), output


def check_personal_data(scene: Scene, output: str) -> None:
    """Kinds of the one message, which are counted and found again page by page, and what it took of the limit."""
    assert re.search(r"^ iban +\| +1 \| +1$", output, re.MULTILINE), output
    # Twice of whatever messages there are, then twice of one: the second page is of the message before.
    found = rows(scene.database.connect(), "SELECT amount FROM guestcomms.quota_uses ORDER BY use_number")
    assert found == [(2,), (2,), (1,), (1,)]


def check_anonymised(scene: Scene, output: str) -> None:
    """One guest, who is alone in the copy, and has no name there."""
    assert re.search(r"^ 1 \| +1 \| +1 \| \{1\}$", output, re.MULTILINE), output
    assert "Kaya" not in output


def write_export(scene: Scene) -> None:
    """Of the tenant itself, after which it loses its messages."""
    with scene.database.connect() as superuser:
        (scene.directory / "export.zip").write_bytes(make_export(superuser, UUID(TENANT)))
        superuser.execute("DELETE FROM guestcomms.messages")


def check_import(scene: Scene, output: str) -> None:
    """The message came back, and was known when the file was taken in again."""
    assert re.search(r"^ messages +\| +1 \| +0$", output, re.MULTILINE), output
    assert one(scene.database.connect(), "SELECT count(*) FROM guestcomms.messages") == 1


def check_consents(scene: Scene, output: str) -> None:
    """The last word was STOP, in French."""
    assert re.search(r"^ objection$", output, re.MULTILINE), output
    assert re.search(r"^ desabonnement$", output, re.MULTILINE), output


def check_annotations(scene: Scene, output: str) -> None:
    """The worker was built, and then annotates what comes, once."""
    superuser = scene.database.connect()
    superuser.execute("SELECT guestcomms.use_tenant(%s, true)", [TENANT])
    message = one(superuser, THANKS)
    for _ in range(2):
        scene.namespace["work"](scene.namespace["connection"])
    found = rows(superuser, "SELECT value, version FROM guestcomms.list_annotations(%s, is_latest => false)", message)
    assert found == [("calm", "1.0")]


def check_attachments(scene: Scene, output: str) -> None:
    """Found by its name, then deleted."""
    assert re.search(r"^ Here it is$", output, re.MULTILINE), output
    assert scene.namespace["deleted"] == ["s3://rose-and-quill/2026/seating-plan.pdf"]


def check_archive(scene: Scene, output: str) -> None:
    """All but the newest of the old conversation was moved, found and brought back; in the end all is archived and whole."""
    assert re.search(r"^ after a year +\| +44 \| +44 \|", output, re.MULTILINE), output
    assert re.search(r"\| «Vegetarian» dish .* \| t$", output, re.MULTILINE), output
    assert re.search(r"^ +restore_messages *\n-+\n +1$", output, re.MULTILINE), output
    assert re.search(r"^ +undo_archive *\n-+\n +43$", output, re.MULTILINE), output
    assert re.search(r"^ t +\| +\d+$", output, re.MULTILINE), output
    superuser = scene.database.connect()
    assert one(superuser, "SELECT sum(message_count) FROM guestcomms.archive_segments") == 45
    assert one(superuser, "SELECT sum(event_count) FROM guestcomms.archive_segments") == 45
    assert rows(superuser, "SELECT body FROM guestcomms.messages") == [("Your seating plan",)]


def check_retention(scene: Scene, output: str) -> None:
    """What guests did with old messages went, nothing else; the records came out as a page."""
    superuser = scene.database.connect()
    assert re.search(r'"messages": 45, "message_events": 45', output), output
    assert one(superuser, "SELECT count(*) FROM guestcomms.message_events") == 0
    assert one(superuser, "SELECT count(*) FROM guestcomms.messages") == 46
    assert "Rose &amp; Quill Ltd" in (scene.directory / "records-of-processing.html").read_text(encoding="utf-8")


def check_closed(scene: Scene, output: str) -> None:
    """Every table was emptied, and says so."""
    assert re.search(r"^ guestcomms\.messages +\| +1 \| +1 \| +0 \|", output, re.MULTILINE), output
    superuser = scene.database.connect()
    assert rows(superuser, "SELECT FROM guestcomms.tenants") == []
    assert one(superuser, "SELECT finished_at IS NOT NULL FROM guestcomms.list_closed_tenants()")


@dataclass(frozen=True)
class Page:
    """A page, what it takes for granted, and what must have come of it."""

    path: str
    setup: str = "SELECT;"
    prepare: Callable[[Scene], None] = no_preparation
    check: Callable[[Scene, str], None] | None = None
    not_run: Mapping[str, str] = field(default_factory=dict)  # first line of a block → why it is not run


PAGES = [
    Page(
        "README.md",
        not_run={
            "$ make demo": "what the demo prints depends on the day; tests/unit/test_demo.py has its parts",
            "sudo make install                 # into the PostgreSQL that pg_config names; PG_CONFIG=... chooses another": (
                "changes the machine; tests/packaging installs into a directory"
            ),
            "make test": "is this",
        },
    ),
    Page("docs/tutorial/first-store.md"),
    Page(CONNECT, setup=ADD_TENANT, prepare=start_pooler, not_run={"[databases]": "the page's pooler is started with it"}),
    Page("docs/how-to/build-an-inbox.md", setup=ADD_TENANT, prepare=start_pooler, check=check_inbox),
    Page(
        "docs/how-to/load-history.md",
        setup=ADD_TENANT,
        prepare=write_history,
        check=check_history,
        not_run={HISTORY_HEADER: "shows the file's form; the file that is read is written here"},
    ),
    Page(
        "docs/how-to/search-messages.md",
        setup=ADD_TENANT + SHUTTLES,
    ),
    Page("docs/how-to/suggest-while-typing.md", setup=ADD_TENANT + SHUTTLES, prepare=count_words, check=check_suggestions),
    Page("docs/how-to/watch-for-messages.md", setup=ADD_TENANT + SHUTTLES, prepare=count_words, check=check_alerts),
    Page("docs/how-to/send-messages.md", setup=ADD_TENANT, prepare=start_pooler, check=check_sending),
    Page("docs/how-to/manage-guests.md", setup=ADD_TENANT + ADD_MEMBER),
    Page(
        "docs/how-to/import-guests.md",
        setup=ADD_TENANT + ADD_MEMBER,
        prepare=write_guests,
        not_run={GUESTS_HEADER: "is in the file that is read"},
    ),
    Page("docs/how-to/show-statistics.md", setup=ADD_TENANT, prepare=add_another_business, check=check_dashboard),
    Page(
        "docs/how-to/connect-a-bi-tool.md",
        setup=ADD_TENANT,
        prepare=add_another_business,
        check=check_analyst,
        not_run={"CREATE ROLE metabase LOGIN;": "the login is made for all tests of this module"},
    ),
    Page("docs/how-to/follow-changes.md", setup=ADD_TENANT, prepare=connect_consumer, check=check_consumer),
    Page(
        "docs/how-to/archive-messages.md", setup=ADD_TENANT + OLD_MESSAGES + ADD_MEMBER, prepare=count_words, check=check_archive
    ),
    Page("docs/how-to/ask-before-writing.md", setup=ADD_TENANT + ADD_MEMBER, check=check_consents),
    Page("docs/how-to/use-templates.md", setup=ADD_TENANT + ADD_MEMBER),
    Page("docs/how-to/annotate-messages.md", setup=ADD_TENANT, prepare=connect_consumer, check=check_annotations),
    Page("docs/how-to/keep-attachments.md", setup=ADD_TENANT + ADD_MEMBER, prepare=connect_consumer, check=check_attachments),
    Page("docs/how-to/keep-data-no-longer.md", setup=ADD_TENANT + OLD_MESSAGES, check=check_retention),
    Page("docs/how-to/close-a-tenant.md", setup=ADD_TENANT, check=check_closed),
    Page("docs/how-to/answer-requests.md", setup=ADD_TENANT, check=check_requests),
    Page("docs/how-to/erase-guest-data.md", setup=ADD_TENANT, check=check_erasure),
    Page("docs/how-to/find-personal-data.md", setup=ADD_TENANT, check=check_personal_data),
    Page(
        "docs/how-to/export-guest-data.md",
        setup=ADD_TENANT,
        check=check_export,
        not_run={
            'with connection.cursor(name="export") as cursor, open("export.zip", "wb") as file:': (
                "tests/integration/test_export_programs.py reads one so"
            ),
            'cursor.execute("SELECT guestcomms.set_export_key(%s, %s)", ["privacy-office", passphrase])': (
                "tests/integration/test_export_encryption.py has it with gpg"
            ),
        },
    ),
    Page("docs/how-to/anonymise-data.md", setup=ADD_TENANT, check=check_anonymised),
    Page("docs/how-to/import-an-export.md", setup=ADD_TENANT, prepare=write_export, check=check_import),
    Page(
        "docs/how-to/schedule-jobs.md",
        not_run={
            "shared_preload_libraries = 'pg_cron'": "the server's own settings; tools/cluster.py starts it with such",
            "CREATE ROLE guestcomms_jobs LOGIN;": "tests/integration/test_cron.py does it, with the address of the test's server",
        },
    ),
    Page(
        "docs/how-to/back-up-and-restore.md",
        not_run={
            'pg_dump -Fc -f store.dump "$SOURCE"': "tests/integration/test_restore.py does it, and looks at what came back",
            "psql -d \"$SOURCE\" -XAtc 'SELECT guestcomms.export_erasure_ledger()' > ledger.json    # every day": REPLAYED,
            "psql -d restored -v key=\"$(cat erasure.key)\" -XAt <<'SQL'": REPLAYED,
        },
    ),
    Page(
        "docs/how-to/run-in-a-container.md",
        not_run={
            'echo "POSTGRES_PASSWORD=$(openssl rand -hex 16)" > container/.env': CONTAINERS,
            'echo "POOLER_PASSWORD=$(openssl rand -hex 16)" >> container/.env': CONTAINERS,
            "docker compose --file container/compose.yaml exec server psql -f /usr/local/share/guestcomms/pooler.sql": CONTAINERS,
            "docker build --tag guestcomms --file container/Dockerfile .": CONTAINERS,
        },
    ),
]


def test_every_page_is_here() -> None:
    found = [ROOT / "README.md", *(ROOT / "docs/tutorial").glob("*.md"), *(ROOT / "docs/how-to").glob("*.md")]
    assert {page.path for page in PAGES} == {path.relative_to(ROOT).as_posix() for path in found}


@pytest.fixture(scope="module")
def application(cluster: Cluster, logins: None) -> Iterator[None]:
    """The logins that the pages speak of."""
    cluster.psql(f"CREATE ROLE {APPLICATION} LOGIN IN ROLE guestcomms_app;")
    cluster.psql(f"CREATE ROLE {ANALYST} LOGIN IN ROLE guestcomms_analyst;")
    yield
    cluster.psql(f"DROP ROLE {APPLICATION}, {ANALYST};")


def run_sql(psql: Psql, block: Block) -> str:
    speaker = SPEAKER.match(block.text)
    psql.become(LOGINS[speaker[1]] if speaker else "postgres")
    assert COMPLETE.search(block.text.rstrip()), "the last statement has no end"
    return psql.run(block.text)


def without_trailing_blanks(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


@pytest.mark.usefixtures("application")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
def test_page_runs(page: Page, new_database: Callable[[], Database], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = new_database()
    with database.connect() as superuser:
        superuser.execute(page.setup)
    not_run = dict(page.not_run)
    outputs: list[str] = []
    with ExitStack() as stack, Psql(database, tmp_path) as psql:
        scene = Scene(database, tmp_path, stack, monkeypatch)
        page.prepare(scene)
        for block in markdown.blocks((ROOT / page.path).read_text(encoding="utf-8")):
            where = f"{page.path}:{block.line}"
            if not_run.pop(block.first_line, None):
                continue
            try:
                match block.language:
                    case "sql":
                        outputs.append(run_sql(psql, block))
                    case "python":
                        exec(compile(block.text, where, "exec"), scene.namespace)
                    case "":
                        assert without_trailing_blanks(block.text) in without_trailing_blanks(outputs[-1])
                    case other:
                        pytest.fail(f"neither run nor listed as not to be: {other}")
            except (AssertionError, psycopg.Error) as error:
                pytest.fail(f"{where}: {error}")
        assert not not_run, "listed, but not on the page"
        if page.check is not None:
            page.check(scene, "".join(outputs))
