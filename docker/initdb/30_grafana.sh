#!/bin/bash
# Role grafana looks and no more: at the views, at the demo's aggregate and at its rejects. Runs once, with the database.
set -euo pipefail
[ -n "${GRAFANA_DB_PASSWORD:-}" ] || { return 0 2>/dev/null || exit 0; }
psql -X -q -U "${POSTGRES_USER:-postgres}" -v ON_ERROR_STOP=1 -d "$POSTGRES_DB" -v password="$GRAFANA_DB_PASSWORD" <<'SQL'
CREATE ROLE grafana LOGIN PASSWORD :'password' IN ROLE millrace_monitor;
ALTER ROLE grafana SET default_transaction_read_only = on;
SELECT 'GRANT USAGE ON SCHEMA staging TO grafana; GRANT SELECT ON staging.merchant_stats, staging.transactions_rejects TO grafana'
 WHERE to_regclass('staging.merchant_stats') IS NOT NULL \gexec
SQL
