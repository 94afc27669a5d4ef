//! Completes the facts of a report: the one way from what intake sends to what the route is decided
//! by. Submission, preview and explanation all take it, so that they cannot disagree.

use std::{collections::BTreeSet, sync::Arc};

use api::{
    event::ChangeOutcome,
    routing::{Facts, OperatorSubject, ReportChange},
};
use decision::{
    calendar::Calendars,
    directory::{AgencyId, Directory},
    facts::agency_id,
};
use journal::Clock;
use register::answer::SUBJECTS;
use rpc::Failure;

use crate::store::{self, Versions};

/// What facts are completed from.
#[derive(Clone)]
pub(crate) struct Completion {
    pub(crate) versions: Arc<dyn Versions>,
    pub(crate) register: Arc<dyn register::store::Store>,
    pub(crate) calendars: Arc<Calendars>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Completion {
    /// Completes the facts of changes with the operator register's answers, in one look-up.
    pub(crate) async fn ask_register(&self, changes: &mut [ReportChange]) -> Result<(), Failure> {
        register::answer::complete(&*self.register, changes, &self.calendars, self.clock.now()).await?;
        Ok(())
    }

    /// Completes the facts of a report that is not submitted, as those of one that is: without
    /// subjects the register is not asked, and what the facts say of it stays. Returns the reason if
    /// it would be refused.
    pub(crate) async fn preview(
        &self,
        facts: Facts,
        subjects: Vec<OperatorSubject>,
        directory: &Directory,
    ) -> Result<Result<Facts, ChangeOutcome>, Failure> {
        if subjects.len() > SUBJECTS {
            let problem = format!("has {}, more than {SUBJECTS}", subjects.len());
            return Err(Failure::invalid("subjects", problem));
        }
        let mut facts = match subjects.is_empty() {
            true => facts,
            false => {
                let mut changes = [ReportChange {
                    facts: Some(facts),
                    subjects,
                    ..ReportChange::default()
                }];
                self.ask_register(&mut changes).await?;
                let [change] = changes;
                change.facts.unwrap_or_default()
            }
        };
        let followed = self.follow_exclusions(&mut facts, directory).await?;
        Ok(followed.map(|()| facts))
    }

    /// Adds the successors of excluded agencies that the directory in force no longer has: with
    /// them, it would pass over whom the report names. One that no directory has ever had is
    /// refused.
    pub(crate) async fn follow_exclusions(
        &self,
        facts: &mut Facts,
        directory: &Directory,
    ) -> Result<Result<(), ChangeOutcome>, Failure> {
        let mut excluded: BTreeSet<AgencyId> = BTreeSet::new();
        for id in facts
            .excluded
            .iter()
            .chain(Some(&facts.complained_of).filter(|id| !id.is_empty()))
        {
            match agency_id(id) {
                Some(id) => drop(excluded.insert(id)),
                // Refused when the change is read.
                None => return Ok(Ok(())),
            }
        }
        if !self.add_successors(vec![&mut excluded], directory).await? {
            return Ok(Err(ChangeOutcome::UnknownAgency));
        }
        // As intake has them, ascending.
        facts.excluded = excluded.iter().map(AgencyId::resource_name).collect();
        Ok(Ok(()))
    }

    /// Adds to all these exclusions the successors of those agencies that the directory in force no
    /// longer has. Returns whether every agency is, or once was, in a directory.
    pub(crate) async fn add_successors(
        &self,
        all: Vec<&mut BTreeSet<AgencyId>>,
        directory: &Directory,
    ) -> Result<bool, store::Error> {
        store::add_successors(&*self.versions, all, directory).await
    }
}

/// Why the facts of a report that is not submitted are refused, in words.
pub(crate) fn refused(outcome: ChangeOutcome) -> String {
    format!("would be refused: {}", outcome.as_str_name())
}
