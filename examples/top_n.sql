-- The greatest groups. The aggregate keeps all of them, since any may become the greatest; ORDER BY and LIMIT belong to the reading.
SELECT millrace.create_aggregate('transactions', 'spending', $$
    SELECT category, customer, sum(amount) AS spent, count(*) AS transactions
    FROM staging.transactions
    GROUP BY category, customer $$);

-- Overall.
SELECT customer, sum(spent) AS spent FROM staging.spending GROUP BY customer ORDER BY spent DESC LIMIT 10;

-- Within each category.
SELECT category, place, customer, spent
FROM (SELECT category, customer, spent, rank() OVER (PARTITION BY category ORDER BY spent DESC) AS place FROM staging.spending) AS ranked
WHERE place <= 3
ORDER BY category, place;
