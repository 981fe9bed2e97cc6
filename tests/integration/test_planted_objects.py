"""Functions that somebody planted in public are never run in place of the server's, at installation or later."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.database import Connection, Database
from tests.support.queries import one, refused, rows

# Each fits a call of ours better than pg_catalog's VARIADIC "any" does, and notes as whom it was run.
PLANT = """
    CREATE TABLE public.runs (runner text);
    GRANT ALL ON public.runs TO PUBLIC;
    CREATE FUNCTION public.note() RETURNS void LANGUAGE sql
        AS $$ INSERT INTO public.runs VALUES (current_user) $$;
    CREATE FUNCTION public.format(text, text) RETURNS text LANGUAGE plpgsql
        AS $$ BEGIN PERFORM public.note(); RETURN pg_catalog.format($1, $2); END $$;
    CREATE FUNCTION public.format(text, VARIADIC text[]) RETURNS text LANGUAGE plpgsql
        AS $$ BEGIN PERFORM public.note(); RETURN pg_catalog.format($1, VARIADIC $2); END $$;
    CREATE FUNCTION public.concat_ws(text, text, text, text) RETURNS text LANGUAGE plpgsql
        AS $$ BEGIN PERFORM public.note(); RETURN pg_catalog.concat_ws($1, $2, $3, $4); END $$;
    CREATE FUNCTION public.hmac(bytea, bytea) RETURNS bytea LANGUAGE plpgsql
        AS $$ BEGIN PERFORM public.note(); RETURN '\\x00'; END $$;
"""


def strangers(root: Connection) -> list[str]:
    """As whom the planted functions ran, but for the planter itself."""
    return [runner for (runner,) in rows(root, "SELECT DISTINCT runner FROM public.runs WHERE runner <> 'app_login'")]


def test_nothing_planted_is_run(new_database: Callable[..., Database], logins: None) -> None:
    database = new_database(None)
    root = database.connect()
    root.execute("GRANT CREATE ON SCHEMA public TO app_login")
    planter = database.connect("app_login")
    planter.execute(PLANT)
    root.execute("CREATE EXTENSION guestcomms CASCADE")
    assert strangers(root) == []
    # pg_partman itself would run them with the owner's rights: no store while its schema is open to others.
    with refused("55000"):
        root.execute("SELECT guestcomms.create_store()")
    root.execute(
        "REVOKE CREATE ON SCHEMA public FROM app_login; DROP FUNCTION public.format(text, text), public.format(text, text[])"
    )
    root.execute("SELECT guestcomms.create_store()")
    root.execute("GRANT CREATE ON SCHEMA public TO app_login")
    planter.execute(
        "CREATE FUNCTION public.format(text, VARIADIC text[]) RETURNS text LANGUAGE plpgsql "
        "AS $$ BEGIN PERFORM public.note(); RETURN pg_catalog.format($1, VARIADIC $2); END $$"
    )
    tenant = one(root, "SELECT guestcomms.add_tenant('A')")
    root.execute("SELECT guestcomms.use_tenant(%s, true)", [tenant])
    root.execute("SELECT guestcomms.add_member('app_login')")
    planter.execute("SELECT guestcomms.use_tenant(%s, true)", [tenant])
    guest = one(planter, "SELECT guestcomms.add_guest('G', email => 'g@example.com')")
    planter.execute("SELECT guestcomms.record_message(%s, 'inbound', 'sms', 'menu')", [guest])
    assert len(rows(planter, "SELECT headline FROM guestcomms.search_messages('menu')")) == 1
    with refused("22023"):
        planter.execute("SELECT guestcomms.record_message(%s, 'inbound', 'fax', 'menu')", [guest])
    assert strangers(root) == []
    with refused("55000"):
        root.execute("SELECT guestcomms.ensure_partitions(now() - interval '3 years')")


def test_a_schema_of_our_name_that_is_not_the_installers_is_refused(new_database: Callable[..., Database], logins: None) -> None:
    for preparation in (
        "CREATE SCHEMA guestcomms AUTHORIZATION app_login",
        "CREATE SCHEMA guestcomms; GRANT CREATE ON SCHEMA guestcomms TO PUBLIC",
        "CREATE SCHEMA guestcomms; CREATE TYPE guestcomms.t AS (a int); ALTER TYPE guestcomms.t OWNER TO app_login",
    ):
        root = new_database(None).connect()
        root.execute(preparation.encode())
        with refused("55000"):
            root.execute("CREATE EXTENSION guestcomms CASCADE")
