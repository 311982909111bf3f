-- Whom the dashboard connects as, and what it may see. Run as the owner of pipeline "transactions"; psql variable: password.
-- Role millrace_monitor sees no data. Its members are shown what these two views have: an aggregate, and counts of rejects without any value.
CREATE SCHEMA IF NOT EXISTS dashboard;

CREATE OR REPLACE VIEW dashboard.merchants AS
SELECT merchant, transactions, round(avg_amount, 2) AS avg_amount FROM staging.merchant_stats;

CREATE OR REPLACE VIEW dashboard.rejects AS
SELECT coalesce((reason ->> 'column') || coalesce(': not ' || (reason ->> 'rule'), ''), reason ->> 'rule',
                CASE reason ->> 'sqlstate' WHEN '22P04' THEN 'record: fields or quotes' ELSE 'record: ' || (reason ->> 'sqlstate') END) AS reason,
       count(*) AS records
  FROM staging.transactions_rejects, jsonb_array_elements(reasons) AS reason
 WHERE status = 'rejected'
 GROUP BY 1;

GRANT USAGE ON SCHEMA dashboard TO millrace_monitor;
GRANT SELECT ON dashboard.merchants, dashboard.rejects TO millrace_monitor;

SELECT 'CREATE ROLE millrace_dashboard LOGIN IN ROLE millrace_monitor' WHERE to_regrole('millrace_dashboard') IS NULL \gexec
ALTER ROLE millrace_dashboard PASSWORD :'password';
ALTER ROLE millrace_dashboard SET default_transaction_read_only = on;
ALTER ROLE millrace_dashboard SET statement_timeout = '5s';
