-- Rejects by reason. Reads a view that shows no value of any row: see grants.sql.
SELECT reason, records FROM dashboard.rejects ORDER BY records DESC, reason LIMIT 10
