//! Routing: assigns each report to the competent agency and runs the case.
//!
//! # From report to case
//!
//! `reports.rs` receives changes of reports from intake. `completion.rs` completes the facts, by
//! the operator [`register`] and former directories; previews and explanations take the same way.
//! The crate [`decision`] decides the route and explains it, by the active rule set and directory.
//! [`case`] opens the case, with one owner and a running clock. [`store`] writes the case, its
//! change and the deliveries in one transaction. Relays deliver the change to intake (`relays.rs`)
//! and to audit.
//!
//! # A case's life
//!
//! Agencies read their cases ([`view`]), follow them ([`feed`]) and act on them. A call becomes a
//! [`Command`](store::Command) (`grpc.rs`, `cases.rs`, `officers.rs`). Concurrent commands share a
//! commit ([`Store::act`]). The rules of [`case`] turn each into a transition or a refusal.
//! [`clocks`] hands up cases whose clock has run out. [`upkeep`] deletes what is kept for a limited
//! time. Both do nothing while the machine's clock is in doubt ([`Timekeeper`]).
//!
//! What is measured stands in `metrics.rs`.
//!
//! # Joining
//!
//! Each report has a case of its own, with its own route, clocks and acknowledgement. If an open case
//! has the same lead and the same exclusions, and is about all that a new report is about (its
//! subjects, each with the family of its category), the new case is linked to it when it is opened:
//! `joined`. If that case was decided before, the link is a reference: `prior`. `store/links.rs` finds
//! the case, [`case::Candidate`] has the rule.
//!
//! * What is compared are hashes under a key that only intake has. No call takes or shows one, and a
//!   subject that has no certain spelling is compared with none.
//! * Outside, nothing tells a joined case: it is opened by one change of the same kind and size, which
//!   has a keyed commitment to the links; of a case without any, a random one.
//! * Where exclusions differ, nothing is joined: somebody who has a part in the one may be excluded
//!   from the other.
//! * How many cases are joined changes neither route nor urgency.
//!
//! The lead works on the main case. What it decides there ([`case::Main`]), or where it hands it on, is
//! applied to those joined cases that allow it by their own rules, as changes of their own
//! ([`Store::follow`]): to a decision only those that the lead has acknowledged, and none by what says
//! something of one report or its reporter (fabricated, withdrawn, mediated, too little told). After
//! the decision each goes its own way: nobody's reporter learns that another asked for a review. A
//! link has an effect only while both cases have one lead and the same exclusions, and is shown
//! only to agencies that read the reports of the one and see the other ([`Store::links`]). A joined
//! case stands on the same lists as any other, until it is decided: its own clock runs.
//!
//! What an observer can infer, who reports something to find out whether others did: nothing
//! until the decision. Joined cases follow one after the other, in the order in which they were
//! opened, after times of one distribution, some minutes each, and six hours at most in all. So
//! of two cases of its own neither the order nor the time between their decisions tells whether
//! there was one before them. What is left: the time between two cases of its own is longer the
//! more joined ones lie between them; of two that are acknowledged only after the decision, the
//! later may be decided first. A decision soon after the acknowledgement may mean that the agency
//! knew the matter, as it may where nothing is joined. Where the log has few entries, one some
//! minutes before may be the main case's: it looks like that of any case which the agency decided
//! before in its own pace. A supporting agency can tell from the history that a case was decided
//! without a second person's step of its own, and so that it followed another, but not which.
//!
//! # Versions
//!
//! [`active`] is the pair of directory and rule set in force. `prepare.rs` activates the configured
//! pair in a new database. Every later switch is a logged change ([`store::versions`]), refused if
//! an open case would lose its owner (`switching.rs`). Operators apply a directory through
//! `directory_service.rs`; [`rule_sets`] activates a rule set after a simulation over the stored
//! cases. [`replay`] decides a stored route again and compares it with the log.
//!
//! # Access
//!
//! `access.rs` says who may call what. No call needs a purpose, because routing has no personal
//! data: of a case, it shows state, category, owner, clocks, supporting agencies, the names of its
//! reports and how it was decided. An explanation consists of the rule set's words and its own.
//! Subjects of reports are looked up in the register and not stored, except for the name of the
//! matching entry, which is a domain, an app or a platform, and shown to the case's owner only.
//! What officers write is shown to the parts that read it, and what the affected side says to them and
//! to itself.
//!
//! # The affected side
//!
//! `notices.rs` is the door of the side that a disposition affects. Its lead gives it notice
//! (`NotifySubject`) and so a receipt: a random code of which [`store`] keeps a digest. By the receipt
//! it is a [`case::Party`] of its own: it reads its notice ([`view::notice`]), states its view, and asks
//! for a review. It never sees the case, a report or a reporter.
//!
//! # Invariants
//!
//! * The rules of [`case`] import neither transport nor database; the crate `decision` has neither.
//! * An open case has exactly one owner and a running clock: the types have no other open case, and
//!   the database allows no second owner.
//! * Each generation of a clock ends at most once: the transaction compares the generation.
//! * `case_parties` says who has which part in a case, and [`case::Part::sees`] what each part
//!   sees. Every read on behalf of an agency goes through both. An excluded agency has no part,
//!   except the conference, which nobody is above.
//! * `case_lists` has rows of agencies only whose part sees the case, and those that follow from the
//!   case ([`case::Worklist`]), written in the same transaction. Pages and counts read the same rows.
//! * A case is opened by the versions that are active when its transaction commits, and keeps their
//!   route and clocks. No version is ever deleted.
//! * Only the owner of a case sees who is excluded.

mod access;
pub mod active;
mod agency_supervisions;
pub mod case;
mod cases;
pub mod clocks;
mod completion;
mod differences;
mod directory_grpc;
mod directory_service;
pub mod feed;
mod grpc;
mod metrics;
mod notices;
mod notices_grpc;
mod officers;
mod operations;
mod prepare;
mod relays;
pub mod replay;
mod reports;
pub mod rule_sets;
mod rule_sets_grpc;
pub mod store;
mod switching;
pub mod upkeep;
pub mod view;

pub use access::ACCESS;
pub use metrics::Instruments;

use std::sync::Arc;

use active::{Active, Current};
use api::routing::{
    case_service_server::CaseServiceServer, directory_service_server::DirectoryServiceServer,
    notice_service_server::NoticeServiceServer, operator_service_server::OperatorServiceServer,
    routing_inbound_service_server::RoutingInboundServiceServer, rule_set_service_server::RuleSetServiceServer,
};
use clocks::Ticker;
use decision::{calendar::Calendars, rules::Taxonomy};
use futures::FutureExt as _;
use journal::{Background, Clock, Entropy, Time, Timekeeper};
use rpc::{client::Caller, delivery::ToAudit, page};
use sql::Db;
use store::{Simulations, SqlStore, Store, Versions};
use switching::Switching;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use upkeep::Upkeep;

/// Maximum number of commands on cases per commit.
const COMMANDS: usize = 256;

/// The dependencies of routing.
pub struct Dependencies {
    /// Its database.
    pub db: Db,
    /// The active directory and rule set, from [`Routing::prepare`].
    pub current: Arc<Current>,
    /// The calendars of deadlines.
    pub calendars: Arc<Calendars>,
    /// The categories that rule sets are checked against, and cases filed under.
    pub taxonomy: Arc<Taxonomy>,
    /// The connection to intake.
    pub intake: Caller,
    /// The connection to audit.
    pub audit: Caller,
    /// Name of this replica.
    pub replica: String,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// The time up to which the operator accepts a clock that is far ahead ([`Timekeeper`]).
    pub accept_time_up_to: Option<Time>,
    /// Gives randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl std::fmt::Debug for Dependencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dependencies")
            .field("replica", &self.replica)
            .finish_non_exhaustive()
    }
}

/// A running routing service.
pub struct Routing {
    service: grpc::Service,
    directory: directory_service::Service,
    operators: register::service::Service,
    rule_sets: rule_sets::Service,
    operations: Arc<operations::Operations>,
    background: Background,
}

impl std::fmt::Debug for Routing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Routing").finish_non_exhaustive()
    }
}

/// The schema of routing's database.
pub const SCHEMAS: &[sql::Schema] = &[journal::SCHEMA, store::SCHEMA, register::store::SCHEMA];

impl Routing {
    /// Opens routing's database and brings its schema up to date.
    pub async fn open(url: &str) -> Result<Db, sql::Error> {
        Db::open(url, SCHEMAS).await
    }

    /// Loads the active directory and rule set. Call it before the start.
    ///
    /// In a new database, the configured pair becomes active, as a logged change. Later it is only
    /// compared: if it differs, the active pair stays in force, and a warning says how to switch.
    ///
    /// # Errors
    /// If the database fails or the active pair cannot be read.
    pub async fn prepare(
        db: &Db,
        configured: Active,
        clock: &dyn Clock,
        entropy: &dyn Entropy,
    ) -> Result<Current, sql::Error> {
        prepare::prepare(db, configured, entropy, clock.now()).await
    }

    /// Starts relays, clocks and upkeep, which run until `shutdown`. Call [`Routing::prepare`]
    /// first.
    pub fn start(dependencies: Dependencies, shutdown: &CancellationToken) -> Self {
        let store = Arc::new(SqlStore::new(
            dependencies.db.clone(),
            Arc::clone(&dependencies.current),
            Arc::clone(&dependencies.calendars),
            Arc::clone(&dependencies.taxonomy),
            Arc::clone(&dependencies.entropy),
        ));
        Self::start_with(
            Arc::clone(&store) as Arc<dyn Store>,
            Arc::clone(&store) as Arc<dyn Versions>,
            store,
            dependencies,
            shutdown,
        )
    }

    /// Like [`Routing::start`], but over another store, such as one that fails.
    pub fn start_with(
        store: Arc<dyn Store>,
        versions: Arc<dyn Versions>,
        simulations: Arc<dyn Simulations>,
        dependencies: Dependencies,
        shutdown: &CancellationToken,
    ) -> Self {
        let Dependencies {
            db,
            calendars,
            taxonomy,
            intake,
            audit,
            replica,
            clock,
            accept_time_up_to,
            entropy,
            ..
        } = dependencies;
        if let Err(error) = calendars.check(&versions.active().directory) {
            tracing::warn!(%error, "agencies without a known calendar use the main one");
        }
        let register: Arc<dyn register::store::Store> =
            Arc::new(register::SqlStore::new(db.clone(), Arc::clone(&entropy)));
        let tokens = page::Tokens::of(&db);
        let time = Timekeeper::new(db.clone(), Arc::clone(&clock), accept_time_up_to);
        let operations = Arc::new(operations::Operations {
            db: db.clone(),
            clock: Arc::clone(&clock),
            time: time.clone(),
        });
        let mut background = Background::new("routing", db.clone(), shutdown.clone());
        let [to_intake, to_audit] = store::CONSUMERS;
        let writer = background.relays(
            [
                (to_intake, Arc::new(relays::ToIntake::new(intake))),
                (to_audit, Arc::new(ToAudit::new(audit))),
            ],
            &replica,
            &clock,
            &entropy,
        );
        let commits = writer.commits();
        let switching = Switching {
            versions: Arc::clone(&versions),
            writer: writer.clone(),
            clock: Arc::clone(&clock),
        };
        let ticker = Ticker {
            store: Arc::clone(&store),
            versions: Arc::clone(&versions),
            clock: Arc::clone(&clock),
            time: time.clone(),
            writer: writer.clone(),
        };
        background.run("clocks", move |shutdown| ticker.clone().run(shutdown));
        let upkeep = Upkeep {
            store: Arc::clone(&store),
            writer: writer.clone(),
            clock: Arc::clone(&clock),
            time: time.clone(),
        };
        background.run("upkeep", move |shutdown| upkeep.clone().run(shutdown));
        background.run("sweep of the operator register", {
            let (register, clock, time) = (Arc::clone(&register), Arc::clone(&clock), time.clone());
            move |shutdown| register::sweep::run(Arc::clone(&register), Arc::clone(&clock), time.clone(), shutdown)
        });
        let looks = metrics::Looks {
            db: db.clone(),
            versions: Arc::clone(&versions),
            clock: Arc::clone(&clock),
        };
        background.run("looks at what is open", move |shutdown| looks.clone().run(shutdown));
        background.run("active versions", {
            let versions = Arc::clone(&versions);
            move |shutdown| active::follow(Arc::clone(&versions), shutdown)
        });

        let commands = {
            let (store, clock) = (Arc::clone(&store), Arc::clone(&clock));
            writer.committer(
                journal::Commands::Cases,
                db.writers(),
                COMMANDS,
                move |batch: Arc<Vec<store::Command>>| {
                    let (store, now) = (Arc::clone(&store), clock.now());
                    async move { store.act(&batch, now).await }.boxed()
                },
            )
        };
        let reads = {
            let store = Arc::clone(&store);
            writer.committer(
                journal::Commands::Readings,
                1,
                COMMANDS,
                move |batch: Arc<Vec<store::Read>>| {
                    let store = Arc::clone(&store);
                    async move {
                        store.read(&batch).await?;
                        Ok(batch.iter().map(|_| ()).collect())
                    }
                    .boxed()
                },
            )
        };
        let operators = register::service::Service::new(
            Arc::clone(&register),
            {
                let versions = Arc::clone(&versions);
                Arc::new(move || versions.active().directory.territories().clone())
            },
            Arc::clone(&calendars),
            Arc::clone(&clock),
            writer.clone(),
            tokens.clone(),
            shutdown.clone(),
        );
        let directory = directory_service::Service {
            versions: Arc::clone(&versions),
            switching: switching.clone(),
            calendars: Arc::clone(&calendars),
            clock: Arc::clone(&clock),
            tokens: tokens.clone(),
            former: directory_service::Former::default(),
        };
        let completion = completion::Completion {
            versions: Arc::clone(&versions),
            register,
            calendars,
            clock: Arc::clone(&clock),
        };
        let rule_sets = rule_sets::Service {
            completion: completion.clone(),
            versions: Arc::clone(&versions),
            simulations,
            store: Arc::clone(&store),
            taxonomy,
            switching,
            clock: Arc::clone(&clock),
            tokens: tokens.clone(),
            shutdown: shutdown.clone(),
        };
        let service = grpc::Service {
            cases: cases::Cases {
                versions: Arc::clone(&versions),
                store: Arc::clone(&store),
                commands,
                reads,
                clock: Arc::clone(&clock),
                entropy: Arc::clone(&entropy),
                writer: writer.clone(),
                commits,
                open_feeds: feed::OpenFeeds::default(),
                tokens,
                shutdown: shutdown.clone(),
            },
            reports: reports::Reports {
                versions,
                store,
                completion,
                writer,
                clock,
            },
        };
        Self {
            service,
            directory,
            operators,
            rule_sets,
            operations,
            background,
        }
    }

    /// Whether routing can do its work: the database responds and has room, and the active versions
    /// can be read, without which no case is opened. Not whether its clock is in doubt: calls are
    /// answered then, too.
    pub fn health(&self) -> rpc::HealthCheck {
        let cases = &self.service.cases;
        let (store, versions) = (Arc::clone(&cases.store), Arc::clone(&cases.versions));
        let db = self.operations.db.clone();
        Arc::new(move || {
            let (store, versions) = (Arc::clone(&store), Arc::clone(&versions));
            let db = db.clone();
            async move { !db.is_full().await && store.ping().await.is_ok() && versions.refresh().await.is_ok() }.boxed()
        })
    }

    /// The gRPC services, and the background tasks, which end after them.
    pub fn into_routes(self, message_bytes: usize) -> (Routes, Background) {
        let directory = DirectoryServiceServer::new(self.directory).max_decoding_message_size(message_bytes);
        let tokens = self.service.cases.tokens.clone();
        let service = Arc::new(self.service);
        let inbound =
            RoutingInboundServiceServer::from_arc(Arc::clone(&service)).max_decoding_message_size(message_bytes);
        let notices = notices_grpc::Service(Arc::clone(&service));
        let notices = NoticeServiceServer::new(notices).max_decoding_message_size(message_bytes);
        let cases = CaseServiceServer::from_arc(service).max_decoding_message_size(message_bytes);
        let operators = OperatorServiceServer::new(self.operators).max_decoding_message_size(message_bytes);
        let rule_sets = RuleSetServiceServer::new(self.rule_sets).max_decoding_message_size(message_bytes);
        (
            Routes::new(cases)
                .add_service(inbound)
                .add_service(notices)
                .add_service(directory)
                .add_service(operators)
                .add_service(rule_sets)
                .add_service(rpc::operations::server(self.operations, tokens, ACCESS)),
            self.background,
        )
    }
}
