//! The extension's SQL, in the order in which it is installed.

use pgrx::prelude::*;

extension_sql_file!("../../sql/schema/01_roles.sql", name = "roles", bootstrap);
extension_sql_file!("../../sql/schema/10_pipeline_tables.sql", name = "pipeline_tables", requires = ["roles"]);
extension_sql_file!("../../sql/schema/30_functions.sql", name = "functions", requires = ["pipeline_tables"]);
extension_sql_file!("../../sql/schema/50_views.sql", name = "views", requires = ["functions"]);
extension_sql_file!("../../sql/schema/90_dump.sql", name = "dump", requires = ["views"]);
