"""The image: what its first start makes, what it refuses, how it stops, and who gets in."""

from __future__ import annotations

import psycopg
import pytest
from testcontainers.core.container import DockerContainer

from tests.container.fixtures import PASSWORD, ContainerCluster, is_healthy, logs, running, set_password, wait_until
from tests.support.queries import column, one, refused
from tests.support.store import Store

NO_TENANT = "GC001"
COUNT = "SELECT count(*) FROM guestcomms.guests;"
ADD_GUEST = """
SELECT guestcomms.use_tenant(guestcomms.add_tenant('Rose & Quill'), true);
SELECT guestcomms.resolve_guest('email', 'zoe@example.com');
"""


def test_the_store_is_there(server: ContainerCluster) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as superuser:
        assert one(superuser, "SELECT count(*) FROM pg_extension WHERE extname = 'guestcomms'") == 1
        assert one(superuser, "SELECT count(*) FROM guestcomms.tenants") == 0
        assert one(superuser, "SHOW server_encoding") == "UTF8"
        assert one(superuser, "SELECT datcollate FROM pg_database WHERE datname = current_database()") == "C.UTF-8"
        assert one(superuser, "SHOW fsync") == "off"  # arguments are the server's


def test_the_server_is_the_first_process_and_knows_no_password(server: ContainerCluster) -> None:
    read = "tr '\\0' ' ' </proc/1/cmdline; tr '\\0' '\\n' </proc/1/environ; stat -c %U /proc/1"
    status, output = server.container.exec(["sh", "-c", read])
    lines = output.decode().splitlines()
    assert status == 0
    assert lines[0].startswith("postgres -c ")
    assert lines[-1] == "postgres"
    assert not [line for line in lines if "PASSWORD" in line]


def test_a_password_is_required(image: str) -> None:
    with DockerContainer(image) as container:
        assert container.wait() == 1
        assert "set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE" in logs(container)


def test_a_password_may_come_from_a_file(image: str) -> None:
    container = DockerContainer(image, ports=[5432], env={"POSTGRES_PASSWORD_FILE": "/tmp/password"})
    container.with_copy_into_container(PASSWORD.encode(), "/tmp/password", 0o644)
    with container:
        wait_until("healthy server", lambda: is_healthy(container))
        with psycopg.connect(ContainerCluster(container).dsn()) as superuser:
            assert one(superuser, "SELECT current_user") == "postgres"


def test_a_file_that_cannot_be_read_is_named(image: str) -> None:
    with DockerContainer(image, env={"POSTGRES_PASSWORD_FILE": "/nowhere"}) as container:
        assert container.wait() == 1
        assert "POSTGRES_PASSWORD_FILE names /nowhere" in logs(container)


def test_a_restart_keeps_the_data(image: str) -> None:
    """By the signal that Docker sends and by the one that others send; both times the server has said goodbye."""
    with running(image) as server:
        server.psql(ADD_GUEST, "guestcomms")
        wrapped = server.container.get_wrapped_container()
        for stop in (wrapped.stop, lambda: wrapped.kill("SIGTERM")):
            stop()
            assert wrapped.wait()["StatusCode"] == 0
            wrapped.start()
            wait_until("healthy server", lambda: is_healthy(server.container))
            assert server.psql(COUNT, "guestcomms") == "1"
        assert "was not properly shut down" not in logs(server.container)


def test_a_first_start_that_was_cut_short_begins_anew(image: str) -> None:
    with DockerContainer(image, env={"POSTGRES_PASSWORD": PASSWORD}) as container:
        wait_until("initdb", lambda: "creating directory" in logs(container))
        wrapped = container.get_wrapped_container()
        wrapped.kill()
        wrapped.wait()
        wrapped.start()
        wait_until("healthy server", lambda: is_healthy(container))
        assert logs(container).count("creating directory") == 2
        assert ContainerCluster(container).psql(COUNT, "guestcomms") == "0"


@pytest.mark.parametrize("user", ["postgres", "app_login", "guestcomms_jobs"])
def test_nobody_gets_in_without_the_password(server: ContainerCluster, logins: None, user: str) -> None:
    """Nor by the jobs' login, which has none."""
    for password in ("", "wrong"):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.dsn(user=user), password=password)


def test_an_application_records_and_finds_by_token(store: Store) -> None:
    with store.connect("issuer_login") as issuer:
        token = one(issuer, "SELECT guestcomms.issue_token(%s)", store.tenant_a)
    with store.connect("app_login", autocommit=False) as application:
        assert not one(application, "SELECT usesuper FROM pg_user WHERE usename = current_user")
        one(application, "SELECT guestcomms.use_token(%s)", token)
        guest = one(application, "SELECT guestcomms.resolve_guest('email', 'zoe@example.com')")
        one(application, "SELECT guestcomms.record_message(%s, 'inbound', 'email', 'Vegetarian dishes, please')", guest)
        found = column(application, "SELECT guest_id FROM guestcomms.search_messages('vegetarian dish')")
        assert found == [guest]
        application.commit()
        with refused(NO_TENANT):
            one(application, "SELECT guestcomms.current_tenant()")


def test_a_pooler_may_be_added_later(server: ContainerCluster) -> None:
    """As docs/how-to/run-in-a-container.md says; what its login may ask for is never a superuser's."""
    script = 'POOLER_PASSWORD="$0" psql -qX -v ON_ERROR_STOP=1 -f /usr/local/share/guestcomms/pooler.sql'
    status, output = server.container.exec(["sh", "-c", script, PASSWORD])
    assert status == 0, output
    server.psql("CREATE ROLE pooled LOGIN;")
    set_password(server, "pooled")
    with psycopg.connect(server.dsn(user="guestcomms_pooler"), autocommit=True) as pooler:
        find = "SELECT secret LIKE 'SCRAM-SHA-256$%%' FROM pooler.find_login(%s)"
        assert column(pooler, find, "pooled") == [True]
        assert column(pooler, find, "postgres") == []
        with refused("42501"):
            pooler.execute("SELECT rolpassword FROM pg_authid")
    with psycopg.connect(server.dsn(user="pooled"), autocommit=True) as other, refused("42501"):
        other.execute("SELECT pooler.find_login('pooled')")
