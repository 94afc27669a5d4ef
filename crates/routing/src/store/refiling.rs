//! The route of a case under another category: decided from the stored facts, and kept in place of
//! the one before, which stays for replays.

use std::sync::Arc;

use api::routing::CaseMatter;
use decision::{decide::decide, directory::AgencyId, rules::Terms};
use journal::Change;
use prost::Message as _;
use sql::{Error, Tx};

use super::{Command, Opening, Route, change::Locked, rows, simulations, sql::SqlStore};
use crate::{
    active::Active,
    case::{Action, Filing, Reclassify, Refiled},
};

/// A command to file a case under another category, with what follows from it.
pub(super) struct Refiling {
    pub(super) command: Command,
    /// The new route, if there is one.
    route: Option<Route>,
}

impl SqlStore {
    /// Routes a case that a command files under another category; `None` for other commands.
    pub(super) async fn refile(
        &self,
        tx: &mut Tx,
        command: &Command,
        case: &Locked,
        active: &Active,
    ) -> Result<Option<Refiling>, Error> {
        let Action::Reclassify(Reclassify { category, .. }) = &command.action else {
            return Ok(None);
        };
        // As it was reported: a category before may have had no use for a detail that this one has.
        let first = "SELECT facts FROM case_former_routes WHERE case_id = $1 AND number = 1";
        let row = match tx.fetch_optional(first, vec![command.case.into()]).await? {
            Some(row) => row,
            None => {
                let row = tx.fetch_optional("SELECT facts FROM cases WHERE id = $1", vec![command.case.into()]);
                row.await?
                    .ok_or_else(|| rows::damaged("case", "it has no row in `cases`"))?
            }
        };
        let facts = simulations::facts(&row.get::<Vec<u8>>("facts")?)?;
        let (refiled, route) = match facts.map(|facts| self.taxonomy.refile(&facts, category)) {
            None => (Refiled::Erased, None),
            Some(None) => (Refiled::NoCategory, None),
            Some(Some(mut facts)) => {
                // Whoever stepped aside since, or succeeded an excluded one, is passed over, too.
                facts.excluded = case.matter.excluded.iter().map(AgencyId::resource_name).collect();
                let mut route = Route {
                    decision: decide(&facts, &active.rules, &active.directory),
                    facts,
                    subject_keys: Vec::new(),
                };
                let filing = Filing {
                    category: category.clone(),
                    decision: route.decision.clone(),
                    last_resort: active.rules.last_resort().to_vec(),
                };
                self.commit_to_facts(&mut route);
                (Refiled::Filed(Arc::new(filing)), Some(route))
            }
        };
        let mut command = command.clone();
        command.action = Action::Reclassify(Reclassify {
            category: category.clone(),
            refiled,
        });
        Ok(Some(Refiling { command, route }))
    }
}

impl Refiling {
    /// The new route.
    pub(super) const fn route(&self) -> Option<&Route> {
        self.route.as_ref()
    }

    /// Keeps the new route in place of the one before, and ends what was found by the category:
    /// links to other cases, and that reports on the same subject are compared with this one.
    pub(super) async fn keep(&self, tx: &mut Tx, case: &mut Locked, change: &Change) -> Result<(), Error> {
        let Some(route) = &self.route else { return Ok(()) };
        let Locked { stored, matter } = case;
        let id = || stored.id.into();
        let number = i64::try_from(stored.case.course.former_categories.len()).unwrap_or(i64::MAX);
        let former = "INSERT INTO case_former_routes \
                      (case_id, number, category, urgent, facts, explanation, sequence, salt, detail) \
                      SELECT id, $2, category, urgent, facts, explanation, sequence, salt, detail \
                      FROM cases JOIN case_openings ON case_id = id WHERE id = $1";
        tx.execute(former, vec![id(), number.into()]).await?;
        let row = tx
            .fetch_optional("SELECT matter FROM cases WHERE id = $1", vec![id()])
            .await?;
        let row = row.ok_or_else(|| rows::damaged("case", "it has no row in `cases`"))?;
        // As it was opened, but for the route: exclusions since have a table of their own.
        let opened: Vec<u8> = row.get("matter")?;
        let opened = CaseMatter::decode(opened.as_slice()).map_err(|error| rows::damaged("matter of a case", error))?;
        let refiled = CaseMatter {
            terms: matter.terms.as_ref().map(Terms::to_proto),
            last_resort: matter.last_resort.iter().map(AgencyId::resource_name).collect(),
            ..opened
        };
        let explanation = &route.decision.explanation;
        // What was urgent once is not withdrawn without its agency, whatever it is filed under.
        stored.urgent |= route.facts.urgent;
        let values = vec![
            id(),
            matter.category.as_str().into(),
            stored.urgent.into(),
            route.facts.encode_to_vec().into(),
            explanation.encode_to_vec().into(),
            refiled.encode_to_vec().into(),
        ];
        let routed =
            "UPDATE cases SET category = $2, urgent = $3, facts = $4, explanation = $5, matter = $6 WHERE id = $1";
        tx.execute(routed, values).await?;
        let [_, salt, detail] = simulations::opening_row(stored.id, change);
        let logged = "UPDATE case_openings SET sequence = $2, salt = $3, detail = $4 WHERE case_id = $1";
        tx.execute(
            logged,
            vec![id(), change.head.sequence.cast_signed().into(), salt, detail],
        )
        .await?;
        // The heads first: a case that is being linked to this one has locked them.
        let heads = "DELETE FROM subject_heads WHERE case_id = $1 \
                     AND subject IN (SELECT subject FROM case_subjects WHERE case_id = $1)";
        tx.execute(heads, vec![id()]).await?;
        tx.execute("DELETE FROM case_subjects WHERE case_id = $1", vec![id()])
            .await?;
        let unlinked = "UPDATE case_links SET end_time = $2, follow_time = NULL \
                        WHERE (case_id = $1 OR other = $1) AND kind = 'joined' AND end_time IS NULL";
        tx.execute(unlinked, vec![id(), change.head.time.0.into()]).await?;
        stored.category.clone_from(&matter.category);
        stored.opening = Some(Opening {
            explanation: explanation.clone(),
            matter: matter.clone(),
        });
        Ok(())
    }
}
