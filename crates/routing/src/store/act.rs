//! Commands of callers: all verbs, in one transaction.

use std::collections::BTreeMap;

use api::routing::{CaseSight, KeptAnswer};
use decision::{decide::without_excluded, directory::Directory};
use journal::{Answers, Earlier, Time};
use prost::Message;
use sql::{Error, Tx};

use super::{
    Acted, Command, Given,
    change::{ChangeContext, Locked, OnLocked, lock},
    deputies, exclusions, links, notices,
    refiling::Refiling,
    rows,
    sql::SqlStore,
    versions,
};
use crate::{
    case::{Action, Event, Refusal, Sight, Transition, sees},
    view,
};

/// Maximum bytes of notes in a case for which more is recorded. What moves a case is not bound by
/// it.
const MOST_RECORDED: usize = 512 << 10;

/// Maximum number of changes of a case after which nothing more is recorded.
const MOST_CHANGES: usize = 2_000;

/// Whether an action only records something, or changes what can be changed back: it may be repeated
/// without end.
const fn is_record(action: &Action) -> bool {
    matches!(
        action,
        Action::RecordProgress(_)
            | Action::RecordUrgentMeasure(_)
            | Action::AskReporter(_)
            | Action::PauseClock(_)
            | Action::Supervise(_)
            | Action::ShareNarrative(_)
            | Action::SplitReport(_)
    )
}

/// What was done, with the notice that it gave.
fn done(sight: CaseSight, given: Option<Given>) -> Acted {
    match given {
        Some(given) => Acted::Notified(Box::new(sight), given),
        None => Acted::Done(Box::new(sight)),
    }
}

impl SqlStore {
    pub(super) async fn try_act(&self, tx: &mut Tx, commands: &[Command], now: Time) -> Result<Vec<Acted>, Error> {
        // A new party must be in the directory that is active at the commit.
        let active = versions::hold(tx, &self.current).await?;
        let directory = &active.directory;
        // Lock the cases first: after waiting for another transaction, its request ids are visible
        // below.
        let ids = commands.iter().map(|command| command.case.to_string()).collect();
        let mut locked = lock(tx, OnLocked::Wait, ids).await?;
        exclusions::follow(tx, locked.values_mut().map(|case| &mut case.matter), directory).await?;
        let mut answers = Answers::find(tx, commands.iter().filter_map(|command| command.request.as_ref())).await?;
        let (mut changed, mut recused, mut receipts) = (Vec::new(), BTreeMap::new(), Vec::new());
        let mut acted = Vec::with_capacity(commands.len());
        for command in commands {
            if let Some(earlier) = command.request.as_ref().and_then(|request| answers.earlier(request)) {
                acted.push(match earlier {
                    Earlier::Answered(answer) => {
                        let answer = KeptAnswer::decode(answer.as_slice());
                        let answer = answer.map_err(|error| rows::damaged("answer", error))?;
                        let given = notices::kept(&answer);
                        let answer = answer.sight.unwrap_or_default();
                        // Who lost the case since is not shown it by this door either.
                        let case = locked.get(&command.case);
                        let case = case.filter(|case| self.still_sees(case, command, directory, now));
                        match (case, given) {
                            (None, _) => Acted::Done(Box::new(view::lost(command.case))),
                            (Some(case), given) => {
                                let answer = view::with_details(answer, &case.stored, &command.by, directory);
                                done(answer, given)
                            }
                        }
                    }
                    Earlier::OtherContent => Acted::RequestIdReused,
                });
                continue;
            }
            let Some(case) = locked.get_mut(&command.case) else {
                acted.push(Acted::NotFound);
                continue;
            };
            let split = links::found(tx, command).await?;
            let refiling = self.refile(tx, command, case, &active).await?;
            let review = deputies::looked_up(tx, command, case, now).await?;
            let looked_up = split.as_ref().map(|split| &split.command).or(review.as_ref());
            let command = looked_up
                .or_else(|| refiling.as_ref().map(|refiling| &refiling.command))
                .unwrap_or(command);
            let route = refiling.as_ref().and_then(Refiling::route);
            let transition = match self.judge(case, command, directory, now.max(case.stored.head.time)) {
                Ok(transition) => transition,
                Err(refused) => {
                    acted.push(refused);
                    continue;
                }
            };
            if command.validate_only {
                let mut preview = view::hand_over(&case.stored.case, &transition.case, directory);
                preview.explanation =
                    route.map(
                        |route| match sees(&case.stored.case, &command.by, directory, Sight::Exclusions) {
                            true => route.decision.explanation.clone(),
                            false => without_excluded(route.decision.explanation.clone()),
                        },
                    );
                acted.push(Acted::Previewed(Box::new(preview)));
                continue;
            }
            let context = ChangeContext {
                actor: command.actor.clone(),
                caused_by: None,
                traceparent: command.traceparent.clone(),
                route,
                note: command.note.clone(),
                link_commitment: match &split {
                    Some(split) => split.end(tx, now).await?,
                    None => None,
                },
            };
            let given = notices::given(&transition.event, &*self.entropy);
            let excludes = matches!(transition.event, Event::Recused { .. });
            let change = self.change(case, transition, context, directory, now);
            if let Some(refiling) = &refiling {
                refiling.keep(tx, case, &change.delivery.change).await?;
            }
            changed.push(change);
            recused.extend(excludes.then(|| (command.case, case.matter.clone())));
            let sight = view::sight(&case.stored, &command.by, directory);
            if let Some(request) = &command.request {
                let kept = KeptAnswer {
                    sight: Some(view::without_details(sight.clone())),
                    receipt: given.as_ref().map(|given| given.receipt.clone()).unwrap_or_default(),
                    notice_number: given.as_ref().map_or(0, |given| given.notice.cast_signed()),
                };
                answers.add(request, kept.encode_to_vec());
            }
            receipts.extend(given.clone().map(|given| (command.case, given)));
            acted.push(done(sight, given));
        }
        answers.keep(tx, now).await?;
        let recused: Vec<_> = recused.into_iter().collect();
        exclusions::replace(tx, &recused, directory).await?;
        notices::keep(tx, receipts).await?;
        self.write(tx, changed).await?;
        Ok(acted)
    }

    /// Whether the caller sees the case as it is now.
    fn still_sees(&self, case: &Locked, command: &Command, directory: &Directory, now: Time) -> bool {
        let Locked { stored, matter } = case;
        let is_kept = command
            .by
            .agency()
            .is_none_or(|agency| self.keeps_sight(&stored.case, now.max(stored.head.time), matter, agency, directory));
        is_kept && sees(&stored.case, &command.by, directory, Sight::Case)
    }

    /// Accepts or refuses a command. Checks the caller's part before the etag and the etag before
    /// the state, so that nobody learns more than its part may see.
    fn judge(&self, case: &Locked, command: &Command, directory: &Directory, now: Time) -> Result<Transition, Acted> {
        let Locked { stored, matter } = case;
        let rules = self.rules(directory, now);
        if let Some(agency) = command.by.agency()
            && !self.keeps_sight(&stored.case, now, matter, agency, directory)
        {
            return Err(Acted::NotFound);
        }
        let refused = |refusal| match refusal {
            Refusal::Unseen => Acted::NotFound,
            other => Acted::Refused(other),
        };
        let may = rules.may(&stored.case, &command.by, &command.action);
        match may {
            Err(refusal @ (Refusal::Unseen | Refusal::NotYours { .. })) => return Err(refused(refusal)),
            _ if !command.etag.is_empty() && command.etag != view::etag(&stored.head) => {
                return Err(match sees(&stored.case, &command.by, directory, Sight::Case) {
                    true => Acted::EtagMismatch,
                    false => Acted::NotFound,
                });
            }
            Err(refusal) => return Err(refused(refusal)),
            Ok(()) => {}
        }
        if is_record(&command.action) {
            if stored.history.len() >= MOST_CHANGES {
                let description = format!("the case has changed {MOST_CHANGES} times: it must come to a result");
                return Err(Acted::Refused(Refusal::WrongState {
                    state: stored.case.state(),
                    description,
                }));
            }
            // What the affected side says is not the desk's.
            let of_desk = stored.history.iter().filter(|step| step.statement == 0);
            let written: usize = of_desk
                .filter_map(|step| step.note.as_ref())
                .map(Message::encoded_len)
                .sum();
            if written + command.note.encoded_len() > MOST_RECORDED {
                let description = format!(
                    "the case has {written} bytes of notes already, of at most {MOST_RECORDED} that records may fill; \
                     keep the rest in your own files, and refer to it"
                );
                return Err(Acted::Refused(Refusal::Argument {
                    field: "note",
                    description,
                }));
            }
        }
        rules
            .act(&stored.case, matter, &command.by, &command.action)
            .map_err(refused)
    }
}
