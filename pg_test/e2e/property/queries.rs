//! Twenty aggregate queries over the awkward rows of [`super::rows`].

pub struct Query {
    pub name: &'static str,
    /// `{t}` stands for the staging table.
    pub sql: &'static str,
    /// The output columns that tell groups apart; `None`: not published.
    pub published_by: Option<&'static [&'static str]>,
    /// Published as it is, in place of what was published before.
    pub whole: bool,
}

const fn published(name: &'static str, keys: &'static [&'static str], sql: &'static str) -> Query {
    Query { name, sql, published_by: Some(keys), whole: false }
}

const fn kept(name: &'static str, sql: &'static str) -> Query {
    Query { name, sql, published_by: None, whole: false }
}

const fn whole(name: &'static str, sql: &'static str) -> Query {
    Query { name, sql, published_by: Some(&[]), whole: true }
}

/// What Delta has no value for (NaN in a decimal, more digits than it holds) is published as text.
pub const QUERIES: [Query; 20] = [
    published(
        "everyday",
        &["g"],
        "SELECT g, avg(amount) AS mean, count(*) AS n, count(DISTINCT who) FILTER (WHERE flag) AS flagged FROM {t} GROUP BY g",
    ),
    published(
        "over_all",
        &[],
        "SELECT count(*) AS n, sum(amount) AS total, min(day) AS first, max(at) AS last, count(DISTINCT who) AS people FROM {t}",
    ),
    published(
        "folded",
        &["ci"],
        "SELECT ci, count(*) AS n, count(DISTINCT g) AS gs, sum(n) AS sum_n FROM {t} GROUP BY ci",
    ),
    kept("numeric_keys", "SELECT num, count(*) AS n, sum(n) AS sum_n FROM {t} GROUP BY num"),
    published("float_keys", &["f"], "SELECT f, count(*) AS n, min(n) AS low, max(n) AS high FROM {t} GROUP BY f"),
    published(
        "many_digits",
        &["g"],
        "SELECT g, sum(wide)::text AS total, avg(wide)::text AS mean, min(wide)::numeric(38,10) AS low, max(wide)::text AS high FROM {t} GROUP BY g",
    ),
    published(
        "infinities",
        &["day"],
        "SELECT day, sum(num)::text AS total, avg(num)::text AS mean, stddev(num)::text AS spread, var_pop(num)::text AS v FROM {t} GROUP BY day",
    ),
    published(
        "bins",
        &["bin"],
        "SELECT date_bin('15 minutes', at, timestamptz '2024-01-01 00:00+00') AS bin, count(*) AS n, min(amount) AS low, max(amount) AS high FROM {t} GROUP BY bin",
    ),
    published(
        "sizes",
        &["size", "flag"],
        "SELECT CASE WHEN amount < 10 THEN 'small' WHEN amount < 50 THEN 'medium' ELSE 'large' END AS size, flag::text AS flag, \
         count(*) AS n, avg(n) AS mean FROM {t} GROUP BY 1, 2",
    ),
    published(
        "truth",
        &["g"],
        "SELECT g, bool_and(flag) AS all_of, bool_or(flag) AS any_of, every(n > 5) AS each FROM {t} GROUP BY g",
    ),
    published(
        "texts",
        &["g"],
        "SELECT g, string_agg(who, ',' ORDER BY who COLLATE \"C\", id) AS people FROM {t} GROUP BY g",
    ),
    published(
        "arrays",
        &["flag"],
        "SELECT flag, array_agg(n ORDER BY n) AS ns, jsonb_agg(day ORDER BY day) AS days FROM {t} GROUP BY flag",
    ),
    whole(
        "having",
        "SELECT who, count(*) AS n, max(amount) AS top FROM {t} GROUP BY who HAVING count(*) > 2 AND max(amount) > 50",
    ),
    published(
        "chosen",
        &["g", "day"],
        "SELECT g, day, sum(big)::text AS total, count(*) AS n FROM {t} WHERE n > 20 OR n IS NULL GROUP BY g, day",
    ),
    published("floats", &["g"], "SELECT g, sum(f) AS total, avg(f) AS mean, max(f) AS high FROM {t} GROUP BY g"),
    published(
        "distinct_values",
        &["g"],
        "SELECT g, count(DISTINCT num) AS nums, count(DISTINCT ci) AS words, count(DISTINCT day) FILTER (WHERE flag) AS days, sum(DISTINCT n) AS s \
         FROM {t} GROUP BY g",
    ),
    published(
        "several_keys",
        &["g", "ci", "flag"],
        "SELECT g, ci, flag, count(*) AS n, sum(amount) AS total FROM {t} GROUP BY g, ci, flag",
    ),
    published(
        "spread",
        &["flag"],
        "SELECT flag, stddev(amount)::text AS s, variance(n)::text AS v, stddev_pop(amount) FILTER (WHERE n > 50)::text AS p FROM {t} GROUP BY flag",
    ),
    kept(
        "extremes",
        "SELECT g, min(at) AS first, max(day) AS last, min(who COLLATE \"C\") AS who, max(num) AS high, min(ci) AS word FROM {t} GROUP BY g",
    ),
    published(
        "long_keys",
        &["long"],
        "SELECT repeat(who, 400) AS long, count(*) AS n FROM {t} GROUP BY repeat(who, 400)",
    ),
];

impl Query {
    pub fn over(&self, table: &str) -> String {
        self.sql.replace("{t}", table)
    }
}
