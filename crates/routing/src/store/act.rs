//! Commands of callers: all verbs, in one transaction.

use api::routing::CaseSight;
use decision::directory::Directory;
use journal::{Answers, Earlier, Time};
use prost::Message as _;
use sql::{Error, Tx};

use super::{
    Acted, Command,
    change::{ChangeContext, Locked, OnLocked, lock},
    exclusions, rows,
    sql::SqlStore,
    versions,
};
use crate::{
    case::{Event, Refusal, Transition},
    view,
};

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
        let (mut changed, mut recused) = (Vec::new(), Vec::new());
        let mut acted = Vec::with_capacity(commands.len());
        for command in commands {
            if let Some(earlier) = command.request.as_ref().and_then(|request| answers.earlier(request)) {
                acted.push(match earlier {
                    Earlier::Answered(answer) => Acted::Done(Box::new(
                        CaseSight::decode(answer.as_slice()).map_err(|error| rows::damaged("answer", error))?,
                    )),
                    Earlier::OtherContent => Acted::RequestIdReused,
                });
                continue;
            }
            let Some(case) = locked.get_mut(&command.case) else {
                acted.push(Acted::NotFound);
                continue;
            };
            let transition = match self.judge(case, command, directory, now.max(case.stored.head.time)) {
                Ok(transition) => transition,
                Err(refused) => {
                    acted.push(refused);
                    continue;
                }
            };
            if command.validate_only {
                let preview = view::hand_over(&case.stored.case, &transition.case, directory);
                acted.push(Acted::Previewed(Box::new(preview)));
                continue;
            }
            let context = ChangeContext {
                actor: command.actor.clone(),
                caused_by: None,
                traceparent: command.traceparent.clone(),
                route: None,
                note: command.note.clone(),
            };
            let excludes = matches!(transition.event, Event::Recused { .. });
            changed.push(self.change(case, transition, context, directory, now));
            recused.extend(excludes.then(|| (command.case, case.matter.clone())));
            let sight = view::sight(&case.stored, &command.by, directory);
            if let Some(request) = &command.request {
                answers.add(request, sight.encode_to_vec());
            }
            acted.push(Acted::Done(Box::new(sight)));
        }
        answers.keep(tx, now).await?;
        exclusions::replace(tx, &recused, directory).await?;
        self.write(tx, changed).await?;
        Ok(acted)
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
                return Err(Acted::EtagMismatch);
            }
            Err(refusal) => return Err(refused(refusal)),
            Ok(()) => {}
        }
        rules
            .act(&stored.case, matter, &command.by, &command.action)
            .map_err(refused)
    }
}
