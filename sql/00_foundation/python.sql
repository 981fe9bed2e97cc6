-- PL/Python: the package lies in a versioned directory beside the extension's files; each wrapper puts it on sys.path once
-- a session and calls one function.
CREATE FUNCTION guestcomms_internal.read_server_path() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
    -- Owned by the superuser who installs: nobody else may read these two. extension_destdir is Debian's.
    SELECT coalesce(current_setting('extension_destdir', true), '')
        || (SELECT c.setting FROM pg_config() AS c WHERE c.name = 'SHAREDIR') || '/extension/guestcomms-@VERSION@'
$$;
COMMENT ON FUNCTION guestcomms_internal.read_server_path() IS 'Directory of the extension''s Python package on the server.';

CREATE FUNCTION guestcomms_internal.load_python() RETURNS void
LANGUAGE plpython3u VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
import sys
paths = plpy.execute("SELECT guestcomms_internal.read_server_path() AS own, current_setting('guestcomms.python_path', true) AS operators")[0]
sys.path[:0] = [path for path in (paths["operators"], paths["own"]) if path]
try:
    import guestcomms
except ImportError:
    plpy.error("the Python package guestcomms is missing on the server", sqlstate="0A000", detail="Looked in " + paths["own"] + ".",
        hint="After an installation of new files: ALTER EXTENSION guestcomms UPDATE; else install the files again: make install.")
if guestcomms.__version__ != "@VERSION@":
    plpy.error("the Python package guestcomms is of another version", sqlstate="0A000", hint="Reconnect: a session keeps what it has imported.")
GD["guestcomms"] = guestcomms
$$;
COMMENT ON FUNCTION guestcomms_internal.load_python() IS 'Makes the extension''s Python package importable in this session; every PL/Python function begins with it.';

CREATE FUNCTION guestcomms_internal.find_python_packages(names text[]) RETURNS text[]
LANGUAGE plpython3u STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
if "guestcomms" not in GD:
    plpy.execute("SELECT guestcomms_internal.load_python()")
from guestcomms.capabilities import find_packages
return find_packages(names)
$$;
COMMENT ON FUNCTION guestcomms_internal.find_python_packages(text[]) IS 'Those of the named Python packages that the server has.';

CREATE FUNCTION guestcomms.store_capabilities()
RETURNS TABLE (capability text, kind text, is_available boolean, adds text)
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
    WITH optional (capability, kind, package, adds) AS (
        VALUES
            ('pg_cron', 'extension', 'postgresql-N-cron', 'maintenance jobs by schedule inside the server'),
            ('pg_stat_statements', 'extension', 'postgresql-contrib', 'query statistics for tuning'),
            ('pgstattuple', 'extension', 'postgresql-contrib', 'measured bloat'),
            ('amcheck', 'extension', 'postgresql-contrib', 'verification of indexes'),
            ('hll', 'extension', 'postgresql-N-hll', 'distinct guests over any period in statistics; after CREATE EXTENSION, SELECT guestcomms.upgrade_store()'),
            ('tdigest', 'extension', 'postgresql-N-tdigest', 'percentiles of response times without reading every message; after CREATE EXTENSION, SELECT guestcomms.upgrade_store()'),
            ('hypopg', 'extension', 'postgresql-N-hypopg', 'index advice by hypothetical indexes'),
            ('langdetect', 'python', 'python3-langdetect', 'the language of messages that come without one'),
            ('phonenumbers', 'python', 'python3-phonenumbers', 'telephone numbers written without their country''s prefix, and those among the personal data that is found'),
            ('reportlab', 'python', 'python3-reportlab', 'exports as PDF, together with bidi and arabic_reshaper'),
            ('bidi', 'python', 'python3-bidi', 'exports as PDF: the order of scripts that run from right to left'),
            ('arabic_reshaper', 'python', 'python3-arabic-reshaper', 'exports as PDF: the forms of Arabic letters'),
            ('zstandard', 'python', 'python3-zstandard', 'denser archives'),
            ('cryptography', 'python', 'python3-cryptography', 'encrypted exports'),
            ('pgpy', 'python', 'python3-pgpy', 'exports encrypted to public keys, together with cryptography'),
            ('sklearn', 'python', 'python3-sklearn', 'training of predictions')
    )
    SELECT o.capability, o.kind,
        CASE o.kind WHEN 'extension' THEN EXISTS (SELECT FROM pg_catalog.pg_extension AS e WHERE e.extname = o.capability)
            ELSE o.capability = ANY (p.found) END,
        format('%s (Debian: %s)', o.adds, o.package)
    FROM optional AS o
    CROSS JOIN (SELECT guestcomms_internal.find_python_packages(ARRAY(SELECT n.capability FROM optional AS n WHERE n.kind = 'python')) AS found) AS p
    ORDER BY o.kind, o.capability
$$;
COMMENT ON FUNCTION guestcomms.store_capabilities() IS
$$Optional extensions and Python packages: whether this database has them, and what each adds. None is needed.
Example: SELECT capability, adds FROM guestcomms.store_capabilities() WHERE NOT is_available;
See also: help, list_settings$$;
