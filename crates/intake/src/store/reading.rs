//! Readings of reports: recorded before what is read is shown.

use journal::{Change, Delivery, Payload, Rows};
use prost::Message as _;
use sql::{Batch, Error};

use super::SqlStore;

/// A reading as rows. For audit alone: it takes effect on no case.
pub fn rows(change: Change) -> Rows {
    let payloads = vec![Payload::to("audit", change.with_detail().encode_to_vec())];
    Delivery { change, payloads }.into_rows()
}

impl SqlStore {
    pub(super) async fn write_readings(&self, readings: &[Rows]) -> Result<(), Error> {
        let readings: Vec<&Rows> = readings.iter().collect();
        self.db.write(&journal::append_to(Batch::default(), &readings)?).await
    }
}
