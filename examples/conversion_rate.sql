-- Purchases over views, by category of product. A ratio of two counts is written as such: it is computed when the view is read.
SELECT millrace.create_aggregate('shop_events', 'conversion', $$
    SELECT split_part(category_code, '.', 1) AS category,
           count(*) FILTER (WHERE event_type = 'view') AS views,
           count(*) FILTER (WHERE event_type = 'cart') AS carts,
           count(*) FILTER (WHERE event_type = 'purchase') AS purchases,
           round(100.0 * count(*) FILTER (WHERE event_type = 'purchase')
                 / nullif(count(*) FILTER (WHERE event_type = 'view'), 0), 2) AS percent,
           count(DISTINCT user_id) FILTER (WHERE event_type = 'purchase') AS buyers,
           sum(price) FILTER (WHERE event_type = 'purchase') AS revenue
    FROM staging.shop_events
    GROUP BY 1 $$);

SELECT * FROM staging.conversion ORDER BY percent DESC NULLS LAST;
