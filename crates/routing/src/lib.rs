//! Routing: assigns each report to its jurisdiction and runs the case.
//!
//! Who may call what stands in `access.rs`.
//!
//! How a report becomes a case: `reports.rs` takes intake's changes; the operator [`register`] completes the facts; the
//! crate [`decision`] turns a report's facts into a decision and its explanation, by the rule set and the
//! directory that are active; [`case`] opens the case, with one owner and a clock that the decision's calendars count;
//! [`store`] writes the case, its change and what is to be delivered of it in one transaction. Relays carry the change to
//! intake (`relays.rs`) and to audit.
//!
//! How a case goes on: agencies are shown their cases ([`view`]), follow them ([`feed`]) and act on them. A call becomes a
//! [`Command`](store::Command) (`grpc.rs`, `cases.rs`); commands that come together are one commit ([`Store::act`]); the
//! rules of [`case`] say whether each is done, and what the case is then. [`clocks`] hands up what was not done in time,
//! and [`upkeep`] forgets what is kept for a time only. Which directory and rule set decide is [`active`]: `prepare.rs` makes the configured ones
//! the first, and every later switch is a logged change ([`store::versions`]), refused when an open case would have nobody
//! (`switching.rs`). The directory's calls are `directory_service.rs`, behind `directory_grpc.rs`.
//! A rule set is switched to by [`rule_sets`], after it was tried out on the stored cases; and a stored route is
//! decided again and held against the log by [`replay`].
//!
//! What calls show needs no purpose, because none of it is personal: of a case, its state, category, owner, clock, supporting agencies and reports by
//! name, and to those who see it how it was decided (`GetCase`, `ListCases`, `WatchCases`, `ReplayRoute`). The reasons in an explanation are the
//! table's words or the decision's own; no text of a reporter reaches routing. Its subjects do, to be looked up, and are not kept; the name of the
//! operator register's entry that matched is, which is a domain, an app or a platform and no person's account, and told to the case's owner only. The one
//! text that a person writes here is an operator's, on why a rule set goes in force untried. A call that comes to show what somebody wrote about
//! a case belongs where a purpose is asked for.
//!
//! Invariants: the rules of [`case`] import neither a transport nor a database; the decision's crate has neither.
//! An open case has exactly one owner, and a clock that runs against it: a case without cannot be written down, and the
//! database allows no second owner. Each generation of a clock ends at most once: whoever ends it compares the
//! generation in the transaction. Who has which part in a case is one table (`case_parties`), what each part sees is
//! another ([`case::Part::sees`]), and every read that shows a case to an agency goes through both. An excluded agency is never in it, but for the conference, which
//! has nobody above it. A stored case keeps the route and the clocks' rules that it was opened with: a later
//! rule set or directory changes neither, and every version is kept. A case is opened by the versions that are active when its
//! transaction commits. Who is excluded is told to the owner of a case only.

mod access;
pub mod active;
pub mod case;
mod cases;
pub mod clocks;
mod directory_grpc;
mod directory_service;
pub mod feed;
mod grpc;
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

use std::sync::Arc;

use active::{Active, Current};
use api::routing::{
    case_service_server::CaseServiceServer, directory_service_server::DirectoryServiceServer,
    operator_service_server::OperatorServiceServer, routing_inbound_service_server::RoutingInboundServiceServer,
    rule_set_service_server::RuleSetServiceServer,
};
use clocks::Ticker;
use decision::{calendar::Calendars, rules::Taxonomy};
use futures::FutureExt as _;
use journal::{Background, Clock, Entropy};
use rpc::{client::Caller, delivery::ToAudit, page};
use sql::Db;
use store::{Simulations, SqlStore, Store, Versions};
use switching::Switching;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use upkeep::Upkeep;

/// Commands on cases that one commit takes at most.
const COMMANDS: usize = 256;

/// What routing needs.
pub struct Parts {
    /// Its database.
    pub db: Db,
    /// The directory and the rule set that decide, from [`Routing::prepare`].
    pub current: Arc<Current>,
    /// The calendars that deadlines are counted by.
    pub calendars: Arc<Calendars>,
    /// The categories that rule sets are checked against.
    pub taxonomy: Arc<Taxonomy>,
    /// The way to intake.
    pub intake: Caller,
    /// The way to audit.
    pub audit: Caller,
    /// Name of this replica among others.
    pub replica: String,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts")
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

impl Routing {
    /// Opens routing's database and brings its schema up to date.
    pub async fn open(url: &str) -> Result<Db, sql::Error> {
        Db::open(url, &[journal::SCHEMA, store::SCHEMA, register::store::SCHEMA]).await
    }

    /// Finds what decides. To be done before the start.
    ///
    /// What is configured becomes active in a database where nothing is yet, as a logged change. Later it is only compared: where
    /// it is not what is active, that stays in force, and a warning tells how to switch.
    ///
    /// # Errors
    /// When the database fails, or what is active in it cannot be read.
    pub async fn prepare(
        db: &Db,
        configured: Active,
        clock: &dyn Clock,
        entropy: &dyn Entropy,
    ) -> Result<Current, sql::Error> {
        prepare::prepare(db, configured, entropy, clock.now()).await
    }

    /// Starts relays, clocks and upkeep, which run until `shutdown`. [`Routing::prepare`] comes before.
    pub fn start(parts: Parts, shutdown: &CancellationToken) -> Self {
        let store = Arc::new(SqlStore::new(
            parts.db.clone(),
            Arc::clone(&parts.current),
            Arc::clone(&parts.calendars),
            Arc::clone(&parts.entropy),
        ));
        Self::start_with(
            Arc::clone(&store) as Arc<dyn Store>,
            Arc::clone(&store) as Arc<dyn Versions>,
            store,
            parts,
            shutdown,
        )
    }

    /// Like [`Routing::start`], over another store, for faults.
    pub fn start_with(
        store: Arc<dyn Store>,
        versions: Arc<dyn Versions>,
        simulations: Arc<dyn Simulations>,
        parts: Parts,
        shutdown: &CancellationToken,
    ) -> Self {
        let Parts {
            db,
            calendars,
            taxonomy,
            intake,
            audit,
            replica,
            clock,
            entropy,
            ..
        } = parts;
        if let Err(error) = calendars.check(&versions.active().directory) {
            tracing::warn!(%error, "agencies whose calendar is not here work by the main one");
        }
        let register: Arc<dyn register::store::Store> =
            Arc::new(register::SqlStore::new(db.clone(), Arc::clone(&entropy)));
        let tokens = page::Tokens::of(&db);
        let operations = Arc::new(operations::Operations {
            db: db.clone(),
            clock: Arc::clone(&clock),
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
            clock: Arc::clone(&clock),
            writer: writer.clone(),
        };
        background.run("clocks", move |shutdown| ticker.clone().run(shutdown));
        let upkeep = Upkeep {
            store: Arc::clone(&store),
            writer: writer.clone(),
            clock: Arc::clone(&clock),
        };
        background.run("upkeep", move |shutdown| upkeep.clone().run(shutdown));
        background.run("sweep of the operator register", {
            let (register, clock) = (Arc::clone(&register), Arc::clone(&clock));
            move |shutdown| register::sweep::run(Arc::clone(&register), Arc::clone(&clock), shutdown)
        });
        background.run("active versions", {
            let versions = Arc::clone(&versions);
            move |shutdown| active::follow(Arc::clone(&versions), shutdown)
        });

        let commands = {
            let (store, clock) = (Arc::clone(&store), Arc::clone(&clock));
            writer.committer(db.writers(), COMMANDS, move |batch: Arc<Vec<store::Command>>| {
                let (store, now) = (Arc::clone(&store), clock.now());
                async move { store.act(&batch, now).await }.boxed()
            })
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
        };
        let rule_sets = rule_sets::Service {
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
                commits,
                open_feeds: feed::OpenFeeds::default(),
                tokens,
                shutdown: shutdown.clone(),
            },
            reports: reports::Reports {
                versions,
                store,
                register,
                calendars,
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

    /// Whether routing can do its work: the database responds, and the active versions can be read,
    /// without which no case is opened.
    pub fn health(&self) -> rpc::HealthCheck {
        let cases = &self.service.cases;
        let (store, versions) = (Arc::clone(&cases.store), Arc::clone(&cases.versions));
        Arc::new(move || {
            let (store, versions) = (Arc::clone(&store), Arc::clone(&versions));
            async move { store.ping().await.is_ok() && versions.refresh().await.is_ok() }.boxed()
        })
    }

    /// The gRPC services, and what runs beside them, to be finished after they are.
    pub fn into_routes(self, message_bytes: usize) -> (Routes, Background) {
        let directory = DirectoryServiceServer::new(self.directory).max_decoding_message_size(message_bytes);
        let tokens = self.service.cases.tokens.clone();
        let service = Arc::new(self.service);
        let inbound =
            RoutingInboundServiceServer::from_arc(Arc::clone(&service)).max_decoding_message_size(message_bytes);
        let cases = CaseServiceServer::from_arc(service).max_decoding_message_size(message_bytes);
        let operators = OperatorServiceServer::new(self.operators).max_decoding_message_size(message_bytes);
        let rule_sets = RuleSetServiceServer::new(self.rule_sets).max_decoding_message_size(message_bytes);
        (
            Routes::new(cases)
                .add_service(inbound)
                .add_service(directory)
                .add_service(operators)
                .add_service(rule_sets)
                .add_service(rpc::operations::server(self.operations, tokens)),
            self.background,
        )
    }
}
