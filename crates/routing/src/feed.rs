//! An agency's feed: the changes of its cases after a position, and then each new one.

use std::sync::Arc;

use decision::directory::AgencyId;
pub use rpc::feed::{Admission, OpenFeeds};

use crate::store::{Error, FeedItem, Store};

/// An open feed of an agency.
pub type Feed = rpc::feed::Feed<Cases>;
/// Why one ended.
pub type Interrupted = rpc::feed::Interrupted<Error>;

/// The changes of the cases that an agency sees or saw.
pub struct Cases {
    /// Where they are stored.
    pub store: Arc<dyn Store>,
    /// The agency.
    pub agency: AgencyId,
}

impl std::fmt::Debug for Cases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cases")
            .field("agency", &self.agency)
            .finish_non_exhaustive()
    }
}

impl rpc::feed::Source for Cases {
    type Item = FeedItem;
    type Error = Error;

    async fn read(&mut self, after: u64, limit: u32) -> rpc::feed::Read<Self> {
        let items = self.store.feed(&self.agency, after, limit).await?;
        Ok(items.map(|items| items.into_iter().map(|item| (item.position, item)).collect()))
    }
}
