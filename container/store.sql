-- At the first start, as superuser: the database, its store, and the store's jobs under pg_cron, which lives in the
-- database `postgres` so that `guestcomms` can be dumped and restored anywhere.
CREATE EXTENSION pg_cron;
CREATE DATABASE guestcomms;
\connect guestcomms
CREATE EXTENSION guestcomms CASCADE;
SELECT guestcomms.create_store();
CREATE EXTENSION pg_stat_statements;
CREATE EXTENSION dblink;
CREATE ROLE guestcomms_jobs LOGIN;
GRANT guestcomms_operator TO guestcomms_jobs;
ALTER ROLE guestcomms_jobs SET statement_timeout = '1h';
SELECT entry_name FROM guestcomms.schedule_jobs(cron_connection => 'dbname=postgres', job_login => 'guestcomms_jobs');
