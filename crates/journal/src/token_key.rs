//! The key that seals page and resume tokens. It is in the database that the tokens point into:
//! replicas share it, restarts keep it, and whoever can read it can read the rows themselves.

use sql::{Db, Error, transact};

use crate::{Bytes32, Entropy};

/// The key of this database, made at first use.
pub async fn token_key(db: &Db, entropy: &dyn Entropy) -> Result<Bytes32, Error> {
    const MAKE: &str = "INSERT INTO token_keys (id, key) VALUES (1, $1) ON CONFLICT (id) DO NOTHING";
    const FIND: &str = "SELECT key FROM token_keys WHERE id = 1";
    let mut row = db.fetch_optional(FIND, Vec::new()).await?;
    if row.is_none() {
        let mut made = [0; 32];
        entropy.fill(&mut made);
        // If another replica was faster, its key is the one.
        transact!(db, |tx| tx.execute(MAKE, vec![made.to_vec().into()]))?;
        row = db.fetch_optional(FIND, Vec::new()).await?;
    }
    let row = row.ok_or_else(|| damaged("it is not there"))?;
    let key: Vec<u8> = row.get("key")?;
    Bytes32::try_from(key).map_err(|_| damaged("it does not have 32 bytes"))
}

fn damaged(problem: &str) -> Error {
    Error::Damaged {
        what: "token key",
        problem: problem.to_owned(),
    }
}
