-- Who buys what. Distinct customers can't be added up over categories, so each grouping has an aggregate of its own.
SELECT millrace.create_aggregate('transactions', 'gender_by_category', $$
    SELECT category, gender, count(*) AS transactions, sum(amount) AS spent, count(DISTINCT customer) AS customers
    FROM staging.transactions
    GROUP BY category, gender $$);

SELECT millrace.create_aggregate('transactions', 'female_customers', $$
    SELECT merchant,
           count(DISTINCT customer) FILTER (WHERE gender = 'F') AS female_customers,
           count(DISTINCT customer) AS customers
    FROM staging.transactions
    GROUP BY merchant $$);

-- Shares are a matter of reading: a window function over the view.
SELECT category, gender, spent, round(100 * spent / sum(spent) OVER (PARTITION BY category), 1) AS percent_of_category
FROM staging.gender_by_category
ORDER BY category, gender;

SELECT merchant, female_customers, round(100.0 * female_customers / nullif(customers, 0), 1) AS percent
FROM staging.female_customers
ORDER BY percent DESC NULLS LAST;
