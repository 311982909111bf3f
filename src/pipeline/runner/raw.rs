//! The raw layer as the runner has it open.
//!
//! Promise: what is known of it is looked up anew before anything is landed or loaded back.

use super::*;
use crate::catalog::held_back;
use crate::pipeline::{land, upkeep};

impl Runner {
    /// Makes what was read a commit of the raw layer; gives its version and number.
    pub(super) fn land(
        &mut self,
        pipeline: &Pipeline,
        position: &Position,
        read: Read,
        prepared: Prepared,
        generation: u32,
    ) -> Result<(Read, Raw)> {
        progress::phase(Phase::Landing);
        let seq = position.land_seq + 1;
        let mut table = self.raw.take().ok_or_else(|| Error::new(Code::Internal, "the raw layer is not open"))?;
        let definition = pipeline.clone();
        let (table, read, version) = runtime::wait(async move {
            let version = land::land(&mut table, &definition, &read, prepared, seq, generation).await?;
            Ok((table, read, version))
        })?;
        self.raw = Some(table);
        self.keep_raw(pipeline)?;
        Ok((read, Raw { version: version as i64, seq, share: Share::Rest }))
    }

    pub(super) fn refresh_raw(&mut self, raw: &str) -> Result<()> {
        let table = self.raw.take();
        let (url, credentials) = (raw.to_string(), self.shown[1].clone());
        let limit = gucs::network_timeout();
        let table = runtime::wait(async move {
            let work = async {
                match table {
                    Some(mut table) => {
                        table.refresh().await?;
                        Ok(table)
                    }
                    None => open_raw(&url, &credentials).await,
                }
            };
            tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(slow("reading the raw layer's log")))
        })?;
        self.raw = Some(table);
        Ok(())
    }

    /// Sees to its upkeep; nothing of it goes while records wait in it.
    fn keep_raw(&mut self, pipeline: &Pipeline) -> Result<()> {
        let (Some(location), Some(table)) = (&pipeline.raw, &mut self.raw) else { return Ok(()) };
        let every = u64::from(pipeline.options.checkpoint_every);
        if !table.is_upkeep_due(every) {
            return Ok(());
        }
        let waits = transaction::run(self.mode, || scope::catalog(|| held_back::any(pipeline.id)))?;
        let least = if waits { upkeep::FOR_EVER } else { upkeep::LEAST };
        self.publisher.upkeep.consider(land::LAYER, location, &self.shown[1], (every, least), table)
    }

    /// The first version of it that is not loaded.
    pub(super) fn pending_version(&self, position: &Position) -> Option<u64> {
        let latest = self.raw.as_ref()?.version() as i64;
        (latest > position.raw_version).then_some((position.raw_version + 1) as u64)
    }
}

async fn open_raw(url: &str, credentials: &Credentials) -> Result<Table> {
    let location = Location::parse(url)?;
    Table::open(&location, credentials).await?.ok_or_else(|| {
        Error::new(Code::Gap, "the raw layer is gone")
            .detail(format!("Location {}.", location.display()))
            .hint("Restore it, or drop the pipeline and create it anew.")
    })
}
