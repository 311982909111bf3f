-- Runs once, when the container's database is made (POSTGRES_DB=millrace, which pg_cron is bound to).
CREATE EXTENSION pg_cron;
CREATE EXTENSION pg_millrace;
