//! The extension's SQL, in the order in which it is installed.

use pgrx::prelude::*;

extension_sql_file!("../../sql/schema/01_roles.sql", name = "roles", bootstrap);
extension_sql_file!("../../sql/schema/10_pipeline_tables.sql", name = "pipeline_tables", requires = ["roles"]);
extension_sql_file!(
    "../../sql/schema/11_expectation_tables.sql",
    name = "expectation_tables",
    requires = ["pipeline_tables"]
);
extension_sql_file!("../../sql/schema/20_servers.sql", name = "servers", requires = ["expectation_tables"]);
extension_sql_file!("../../sql/schema/30_functions.sql", name = "functions", requires = ["servers"]);
extension_sql_file!("../../sql/schema/35_expectations.sql", name = "expectations", requires = ["functions"]);
extension_sql_file!("../../sql/schema/40_consumer_tables.sql", name = "consumer_tables", requires = ["expectations"]);
extension_sql_file!(
    "../../sql/schema/41_consumer_lookup.sql",
    name = "consumer_lookup",
    requires = ["consumer_tables"]
);
extension_sql_file!("../../sql/schema/41_stream_grants.sql", name = "stream_grants", requires = ["consumer_lookup"]);
extension_sql_file!("../../sql/schema/42_consumer_create.sql", name = "consumer_create", requires = ["stream_grants"]);
extension_sql_file!("../../sql/schema/43_consumer_claim.sql", name = "consumer_claim", requires = ["consumer_create"]);
extension_sql_file!("../../sql/schema/43_consumer_rows.sql", name = "consumer_rows", requires = ["consumer_claim"]);
extension_sql_file!("../../sql/schema/44_consumer_answer.sql", name = "consumer_answer", requires = ["consumer_rows"]);
extension_sql_file!("../../sql/schema/45_consumer_views.sql", name = "consumer_views", requires = ["consumer_answer"]);
extension_sql_file!("../../sql/schema/46_consumer_admin.sql", name = "consumer_admin", requires = ["consumer_views"]);
extension_sql_file!("../../sql/schema/47_consumer_keyed.sql", name = "consumer_keyed", requires = ["consumer_admin"]);
extension_sql_file!("../../sql/schema/47_consumer_pool.sql", name = "consumer_pool", requires = ["consumer_keyed"]);
extension_sql_file!(
    "../../sql/schema/48_consumer_consume.sql",
    name = "consumer_consume",
    requires = ["consumer_pool"]
);
extension_sql_file!(
    "../../sql/schema/49_consumer_reject_rows.sql",
    name = "consumer_reject_rows",
    requires = ["consumer_consume"]
);
extension_sql_file!(
    "../../sql/schema/49_consumer_limits.sql",
    name = "consumer_limits",
    requires = ["consumer_reject_rows"]
);
extension_sql_file!("../../sql/schema/50_views.sql", name = "views", requires = ["consumer_limits"]);
extension_sql_file!("../../sql/schema/51_backfill.sql", name = "backfill", requires = ["views"]);
extension_sql_file!("../../sql/schema/52_durations.sql", name = "durations", requires = ["backfill"]);
extension_sql_file!("../../sql/schema/52_progress.sql", name = "progress", requires = ["durations"]);
extension_sql_file!("../../sql/schema/53_watch.sql", name = "watch", requires = ["progress"]);
extension_sql_file!("../../sql/schema/54_doctor.sql", name = "doctor", requires = ["watch"]);
extension_sql_file!("../../sql/schema/90_dump.sql", name = "dump", requires = ["doctor"]);
