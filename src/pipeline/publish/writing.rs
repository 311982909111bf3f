//! A version of a published table while it is written, on other threads than the server's.

use serde_json::{Map, json};

use crate::catalog::layers::Pending;
use crate::lake::delta::{Commit, Table};
use crate::lake::store::Credentials;
use crate::model::landing::MANIFEST_KEY;
use crate::model::pipeline::Pipeline;
use crate::model::publishing::{PublishMode, Publishing};
use crate::model::{Error, Result};
use crate::pg::runtime::{self, Task};
use crate::pipeline::publish::layer::Found;

/// What was written.
pub struct Written {
    pub table: Table,
    pub credentials: Credentials,
    /// Of the table; `None` where there was nothing to write.
    pub version: Option<i64>,
    pub found: Found,
    pub publishing: Publishing,
}

pub struct Writing {
    pub pending: Pending,
    task: Task<Written>,
}

impl Writing {
    pub fn start(
        pipeline: &Pipeline,
        pending: &Pending,
        publishing: Publishing,
        credentials: Credentials,
        table: Table,
        mut found: Found,
    ) -> Result<Writing> {
        let mut info = Map::new();
        let chunks = json!({
            "pipeline": pipeline.name, "layer": pending.layer, "from_chunk": found.after + 1, "to_chunk": found.last
        });
        info.insert(MANIFEST_KEY.into(), chunks);
        let (app_id, last) = (pipeline.writer(&pending.layer), found.last);
        let task = runtime::start(async move {
            let mut table = table;
            let mut version = None;
            if let Some(rows) = found.rows.take() {
                let commit = Commit { app_id: &app_id, version: last, operation: "STREAMING UPDATE", info };
                let (schema, rows) = (rows.schema(), rows.into_stream()?);
                version = Some(match publishing.mode {
                    PublishMode::Append => table.append_stream(schema, rows, commit).await?,
                    PublishMode::Overwrite => table.overwrite(schema, rows, commit).await?,
                } as i64);
            }
            if found.counts.is_empty() && publishing.mode == PublishMode::Overwrite {
                // The state is there already; maybe committed by a process that died before it could note it.
                found.counts = vec![(last, table.count_rows().await? as i64)];
            }
            Ok(Written { table, credentials, version, found, publishing })
        })?;
        Ok(Writing { pending: pending.clone(), task })
    }

    /// What came of it; itself where it has not ended and is not waited for.
    pub fn end(self, wait: bool) -> Result<(Pending, Result<Written, Error>), Writing> {
        let Writing { pending, task } = self;
        match wait {
            true => Ok((pending, task.wait())),
            false => match task.poll() {
                Ok(ended) => Ok((pending, ended)),
                Err(task) => Err(Writing { pending, task }),
            },
        }
    }
}
