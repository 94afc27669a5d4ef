//! Receipts of affected sides: random codes, of which a digest is stored.

use api::routing::KeptAnswer;
use journal::{Bytes32, Entropy};
use sha2::{Digest as _, Sha256};
use sql::{Db, Error, Insert, Kind, Tx, Value};
use uuid::Uuid;

use super::{Given, rows};
use crate::case::{Event, Receipt};

/// Bytes of a code. No key is needed to hide them: nobody guesses 120 bits.
const CODE: usize = 15;

const NOTICES: Insert = Insert::into(
    "case_notices",
    &[("hash", Kind::Bytes), ("case_id", Kind::Text), ("notice", Kind::Int)],
);

/// The notice that a change gave, with the receipt that it needs.
pub(super) fn given(event: &Event, entropy: &dyn Entropy) -> Option<Given> {
    let Event::SubjectNotified { number, receipt, .. } = event else {
        return None;
    };
    let receipt = match receipt {
        Receipt::Kept => String::new(),
        Receipt::New => {
            let mut code = [0; CODE];
            entropy.fill(&mut code);
            names::receipt::encode(&code)
        }
    };
    Some(Given {
        notice: *number,
        receipt,
    })
}

/// Stores new receipts. The receipt that a side had before is none any more.
pub(super) async fn keep(tx: &mut Tx, given: Vec<(Uuid, Given)>) -> Result<(), Error> {
    for (case, given) in given.into_iter().filter(|(_, given)| !given.receipt.is_empty()) {
        let notice = given.notice.cast_signed();
        let former = "DELETE FROM case_notices WHERE case_id = $1 AND notice = $2";
        tx.execute(former, vec![case.to_string().into(), notice.into()]).await?;
        let row: [Value; 3] = [hash(&given.receipt).into(), case.to_string().into(), notice.into()];
        NOTICES.rows(tx, vec![row]).await?;
    }
    Ok(())
}

/// The case and the number of the notice under a receipt.
pub(super) async fn find(db: &Db, receipt: &str) -> Result<Option<(Uuid, u64)>, Error> {
    let statement = "SELECT case_id, notice FROM case_notices WHERE hash = $1";
    let row = db.fetch_optional(statement, vec![hash(receipt).into()]).await?;
    let Some(row) = row else { return Ok(None) };
    let notice: i64 = row.get("notice")?;
    let notice = u64::try_from(notice).map_err(|error| rows::damaged("number of a notice", error))?;
    Ok(Some((rows::uuid(&row, "case_id")?, notice)))
}

/// Works for any text, in the same time whether it is a receipt.
fn hash(receipt: &str) -> Bytes32 {
    Sha256::digest(names::receipt::normal(receipt)).into()
}

/// The notice with which an answer was kept.
pub(super) fn kept(answer: &KeptAnswer) -> Option<Given> {
    let notice = u64::try_from(answer.notice_number).ok().filter(|number| *number != 0)?;
    Some(Given {
        notice,
        receipt: answer.receipt.clone(),
    })
}
