//! Before the start: an active pair.

use journal::{Entropy, Time};
use sql::{Db, Error};

use crate::{
    active::{Active, Current, VersionKind},
    store::{follow_rules, ourselves, versions},
};

/// See [`Routing::prepare`](crate::Routing::prepare).
pub(crate) async fn prepare(db: &Db, files: Active, entropy: &dyn Entropy, now: Time) -> Result<Current, Error> {
    // Most starts find an active pair, and write nothing.
    if versions::active(db).await?.is_none() {
        sql::transact!(db, |tx| versions::try_seed(&mut tx, &files, ourselves(), entropy, now))?;
    }
    let active = versions::active(db).await?.ok_or_else(versions::none_active)?;
    let active = versions::load(db, &active, &files).await?;
    follow_rules(db).await?;
    let (ours, theirs) = (active.digests(), files.digests());
    for kind in VersionKind::ALL {
        // A configured version that was in force before was replaced on purpose.
        if ours.of(kind) == theirs.of(kind) || versions::was_active(db, kind, theirs.of(kind)).await? {
            continue;
        }
        let how = match kind {
            VersionKind::Directory => "remit directory apply FILE",
            VersionKind::RuleSet => "remit route activate FILE",
        };
        tracing::warn!(
            active = data_encoding::HEXLOWER.encode(&ours.of(kind)),
            configured = data_encoding::HEXLOWER.encode(&theirs.of(kind)),
            "the configured {kind} differs from the active one, which stays in force; to switch, use `{how}`"
        );
    }
    Ok(Current::new(active))
}
