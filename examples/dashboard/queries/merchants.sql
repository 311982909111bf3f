-- The greatest groups of an aggregate: see grants.sql.
SELECT merchant, transactions, avg_amount FROM dashboard.merchants ORDER BY transactions DESC, merchant LIMIT 10
