-- As superuser, with POOLER_PASSWORD in the environment: the login by which pgbouncer looks up its clients' passwords.
-- No superuser is found, so none comes in through the pooler.
\getenv password POOLER_PASSWORD
\connect guestcomms
CREATE ROLE guestcomms_pooler LOGIN PASSWORD :'password';
CREATE SCHEMA pooler;
CREATE FUNCTION pooler.find_login(wanted text) RETURNS TABLE (login name, secret text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT rolname, rolpassword FROM pg_catalog.pg_authid WHERE rolname = wanted AND rolcanlogin AND NOT rolsuper;
END;
REVOKE ALL ON FUNCTION pooler.find_login(text) FROM PUBLIC;
GRANT USAGE ON SCHEMA pooler TO guestcomms_pooler;
GRANT EXECUTE ON FUNCTION pooler.find_login(text) TO guestcomms_pooler;
