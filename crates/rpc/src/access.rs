//! Which kinds of caller may call which method: one table per gRPC service, checked before a
//! handler is called.
//!
//! A service states its tables beside its registration, and [`Server`](crate::Server) enforces
//! them: a method without a row is never called, whoever asks. What a caller may see of a record is
//! decided where records are, in the stores.
//!
//! Callers have roles ([`Roles`](crate::Roles)); a row names those of which one is enough. A later
//! role is a new [`Role`], named in the rows that it gets.

use std::{borrow::Cow, collections::HashMap, fmt, sync::LazyLock};

use crate::{Failure, Identity, Role};

/// A kind of caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anyone: no token is asked for.
    Anyone,
    /// Anyone with a valid token.
    Authenticated,
    /// Those with this role.
    Role(Role),
    /// One of Remit's own services.
    Service(&'static str),
}

impl Kind {
    /// Whether a caller is of this kind.
    #[must_use]
    pub fn admits(self, caller: &Identity) -> bool {
        match self {
            Self::Anyone | Self::Authenticated => true,
            Self::Role(role) => caller.is(role),
            Self::Service(name) => caller.is_service() && caller.system == name,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anyone => f.write_str("anyone"),
            Self::Authenticated => f.write_str("anyone with a token"),
            Self::Role(role) => write!(f, "{role}"),
            Self::Service(name) => write!(f, "the service {name}"),
        }
    }
}

/// Kinds by their roles, for tables.
pub const SUBMITTER: Kind = Kind::Role(Role::Submitter);
/// Of an agency's cases.
pub const DESK: Kind = Kind::Role(Role::Desk);
/// Of an agency's dispositions.
pub const REVIEWER: Kind = Kind::Role(Role::Reviewer);
/// Of an agency as a superior.
pub const SUPERVISOR: Kind = Kind::Role(Role::Supervisor);
/// Of what an agency sees.
pub const INSPECTOR: Kind = Kind::Role(Role::Inspector);
/// Of the services.
pub const OPERATOR: Kind = Kind::Role(Role::Operator);
/// Of the log.
pub const AUDITOR: Kind = Kind::Role(Role::Auditor);
/// Of the directory.
pub const DIRECTORY_EDITOR: Kind = Kind::Role(Role::DirectoryEditor);
/// Of rule sets.
pub const RULES_EDITOR: Kind = Kind::Role(Role::RulesEditor);
/// All who act for an agency on cases.
pub const CASEWORK: &[Kind] = &[DESK, REVIEWER, SUPERVISOR, INSPECTOR];

/// A row: a method and the kinds of caller that may call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// Its name, such as `GetReport`.
    pub name: &'static str,
    /// Who may call it.
    pub kinds: &'static [Kind],
    /// Who alone may make requests that a field marks; a [`Condition`] is checked by the handler,
    /// with [`require`].
    pub condition: Option<Condition>,
    /// Whether it is answered only once a whole file has arrived, however long that takes.
    pub is_upload: bool,
}

/// Requests of a method that fewer may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What marks these requests, such as `with_detail`.
    pub when: &'static str,
    /// Who may make them.
    pub kinds: &'static [Kind],
}

impl Method {
    /// A method and who may call it.
    #[must_use]
    pub const fn new(name: &'static str, kinds: &'static [Kind]) -> Self {
        Self {
            name,
            kinds,
            condition: None,
            is_upload: false,
        }
    }

    /// Of the callers, only these may make requests that `when` describes.
    #[must_use]
    pub const fn when(mut self, when: &'static str, kinds: &'static [Kind]) -> Self {
        self.condition = Some(Condition { when, kinds });
        self
    }

    /// It receives a file: the longer limit of time applies.
    #[must_use]
    pub const fn upload(mut self) -> Self {
        self.is_upload = true;
        self
    }

    /// Whether no token is asked for.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.kinds.contains(&Kind::Anyone)
    }

    /// Whether a caller may call it; `None` is a caller without a valid token.
    #[must_use]
    pub fn admits(&self, caller: Option<&Identity>) -> bool {
        match caller {
            Some(caller) => admits(self.kinds, caller),
            None => self.is_public(),
        }
    }
}

fn admits(kinds: &[Kind], caller: &Identity) -> bool {
    kinds.iter().any(|kind| kind.admits(caller))
}

/// The methods of one gRPC service, and who may call each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Full name of the service, such as `remit.intake.v1.IntakeService`.
    pub service: &'static str,
    /// Its rows.
    pub methods: &'static [Method],
}

/// What every server has besides its own services.
pub const SHARED: &[Table] = &[
    Table {
        service: "grpc.health.v1.Health",
        methods: &[
            Method::new("Check", &[Kind::Anyone]),
            Method::new("Watch", &[Kind::Anyone]),
        ],
    },
    // Served only where it is switched on.
    Table {
        service: "grpc.reflection.v1.ServerReflection",
        methods: &[Method::new("ServerReflectionInfo", &[Kind::Anyone])],
    },
];

/// The tables of a server by path.
#[derive(Debug)]
pub(crate) struct Methods(HashMap<String, &'static Method>);

impl Methods {
    pub(crate) fn new(tables: &'static [Table]) -> Self {
        let rows = tables.iter().chain(SHARED).flat_map(|table| {
            let path = |method: &Method| format!("/{}/{}", table.service, method.name);
            table.methods.iter().map(move |method| (path(method), method))
        });
        Self(rows.collect())
    }

    /// The row of a path such as `/remit.intake.v1.IntakeService/GetReport`.
    pub(crate) fn get(&self, path: &str) -> Option<&'static Method> {
        self.0.get(path).copied()
    }
}

/// Whether the contract has a method of this path: one without a row is denied, and not said to be
/// missing.
pub(crate) fn is_in_contract(path: &str) -> bool {
    let Some((service, name)) = path.trim_start_matches('/').split_once('/') else {
        return false;
    };
    let service = api::POOL.get_service_by_name(service);
    service.is_some_and(|service| service.methods().any(|method| method.name() == name))
}

/// Whether a method of this path has a stream in either direction.
pub(crate) fn is_stream(path: &str) -> bool {
    STREAMS.contains_key(path)
}

/// Whether a method of this path takes a stream of messages.
pub(crate) fn takes_stream(path: &str) -> bool {
    STREAMS.get(path).copied().unwrap_or(false)
}

/// The methods with a stream by path, and whether they take one.
static STREAMS: LazyLock<HashMap<String, bool>> = LazyLock::new(|| {
    let of_service = |service: prost_reflect::ServiceDescriptor| {
        let streams = service
            .methods()
            .filter(|method| method.is_client_streaming() || method.is_server_streaming());
        let path = |method: &prost_reflect::MethodDescriptor| format!("/{}/{}", service.full_name(), method.name());
        streams
            .map(|method| (path(&method), method.is_client_streaming()))
            .collect::<Vec<_>>()
    };
    api::POOL.services().flat_map(of_service).collect()
});

/// What a caller is told who may not call a method.
pub(crate) fn denied(method: &Method, caller: &Identity) -> Failure {
    Failure::denied(
        format!(
            "only {} may call {}{}",
            listed(method.kinds),
            method.name,
            own(method.kinds, caller)
        ),
        &caller.system,
    )
}

/// What the caller has of roles, where one of them is missing.
fn own(kinds: &[Kind], caller: &Identity) -> String {
    match kinds.iter().any(|kind| matches!(kind, Kind::Role(_))) {
        true => format!("; the roles of this caller: {}", caller.roles),
        false => String::new(),
    }
}

/// Refuses a request that the condition of its method's row keeps from this caller.
///
/// # Errors
///
/// When the caller is not of the condition's kinds. A method whose row has no condition
/// refuses every such request.
pub fn require<T>(request: &tonic::Request<T>) -> Result<(), Failure> {
    let caller = crate::caller(request)?;
    let (method, condition, kinds) = conditioned(request);
    match admits(kinds, caller) {
        true => Ok(()),
        false => {
            let (name, when) = (
                method.map_or("this", |method| method.name),
                condition.map_or("so", |condition| condition.when),
            );
            let who = listed(kinds);
            Err(Failure::denied(
                format!("only {who} may call {name} {when}{}", own(kinds, caller)),
                &caller.system,
            ))
        }
    }
}

/// Whether the caller is of the kinds in the condition of its method's row, where that decides on
/// what is answered. Of a row without a condition nobody is.
#[must_use]
pub fn fits<T>(request: &tonic::Request<T>) -> bool {
    let (.., kinds) = conditioned(request);
    crate::caller(request).is_ok_and(|caller| admits(kinds, caller))
}

/// The method of a request, the condition of its row, and the kinds in it.
fn conditioned<T>(request: &tonic::Request<T>) -> (Option<&'static Method>, Option<Condition>, &'static [Kind]) {
    let method = request.extensions().get::<&'static Method>().copied();
    let condition = method.and_then(|method| method.condition);
    (method, condition, condition.map_or(&[], |condition| condition.kinds))
}

/// Kinds in a sentence: `callers with the role desk or reviewer, and the service intake`.
#[must_use]
pub fn listed(kinds: &[Kind]) -> Cow<'static, str> {
    let roles = kinds.iter().filter_map(|kind| match kind {
        Kind::Role(role) => Some(role.name().to_owned()),
        _ => None,
    });
    let roles = joined(&roles.collect::<Vec<_>>(), "or").map(|roles| format!("callers with the role {roles}"));
    let others = kinds.iter().filter(|kind| !matches!(kind, Kind::Role(_)));
    let others = joined(&others.map(ToString::to_string).collect::<Vec<_>>(), "and");
    match (roles, others) {
        (None, None) => "nobody".into(),
        (Some(one), None) | (None, Some(one)) => one.into(),
        (Some(roles), Some(others)) => format!("{roles}, and {others}").into(),
    }
}

fn joined(words: &[String], with: &str) -> Option<String> {
    match words.split_last()? {
        (last, []) => Some(last.clone()),
        (last, others) => Some(format!("{} {with} {last}", others.join(", "))),
    }
}

/// What is wrong with the tables of a server whose services are those of `package`: methods of the
/// contract without a row, rows without a method, and doubled rows. For a test of each service.
#[must_use]
pub fn faults(package: &str, tables: &[Table]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut rows: Vec<String> = Vec::new();
    for table in tables {
        rows.extend(
            table
                .methods
                .iter()
                .map(|method| format!("{}/{}", table.service, method.name)),
        );
    }
    rows.sort_unstable();
    let doubled = rows.windows(2).filter(|pair| pair[0] == pair[1]);
    faults.extend(doubled.map(|pair| format!("{} has two rows", pair[0])));
    let of_package = |service: &prost_reflect::ServiceDescriptor| service.package_name() == package;
    let is_served = |service: &prost_reflect::ServiceDescriptor| {
        of_package(service) || tables.iter().any(|table| table.service == service.full_name())
    };
    let mut methods = Vec::new();
    for service in api::POOL.services().filter(is_served) {
        methods.extend(
            service
                .methods()
                .map(|method| format!("{}/{}", service.full_name(), method.name())),
        );
    }
    faults.extend(
        methods
            .iter()
            .filter(|method| !rows.contains(method))
            .map(|method| format!("{method} has no row")),
    );
    faults.extend(
        rows.iter()
            .filter(|row| !methods.contains(row))
            .map(|row| format!("{row} is no method of the contract")),
    );
    faults
}

/// Kinds in a table: roles by their names alone.
fn short(kinds: &[Kind]) -> String {
    let words: Vec<_> = kinds.iter().map(ToString::to_string).collect();
    words.join(", ")
}

/// The tables as Markdown, for `docs/access.md`.
#[must_use]
pub fn markdown(tables: &[Table]) -> String {
    let mut text = String::new();
    for table in tables {
        text.push_str(&format!(
            "### `{}`\n\n| method | who may call it |\n|---|---|\n",
            table.service
        ));
        for method in table.methods {
            text.push_str(&format!("| {} | {}", method.name, short(method.kinds)));
            if let Some(condition) = method.condition {
                text.push_str(&format!("; {}: {}", condition.when, short(condition.kinds)));
            }
            text.push_str(" |\n");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Roles;

    const TABLES: &[Table] = &[Table {
        service: "remit.operations.v1.OperationsService",
        methods: &[
            Method::new("GetStatus", &[OPERATOR]),
            Method::new("GetStatus", &[OPERATOR]),
            Method::new("Vanished", &[Kind::Service("audit"), OPERATOR, DESK]),
        ],
    }];

    #[test]
    fn methods_without_rows_and_rows_without_methods_are_faults() {
        assert_eq!(
            faults("remit.operations.v1", TABLES),
            [
                "remit.operations.v1.OperationsService/GetStatus has two rows",
                "remit.operations.v1.OperationsService/ListRecordHeads has no row",
                "remit.operations.v1.OperationsService/GetAccessTable has no row",
                "remit.operations.v1.OperationsService/Vanished is no method of the contract",
            ]
        );
        assert_eq!(
            faults("remit.operations.v1", &[]),
            [
                "remit.operations.v1.OperationsService/GetStatus has no row",
                "remit.operations.v1.OperationsService/ListRecordHeads has no row",
                "remit.operations.v1.OperationsService/GetAccessTable has no row"
            ]
        );
    }

    #[test]
    fn a_denial_says_who_may() {
        let caller = Identity {
            system: "somebody".to_owned(),
            agency: None,
            roles: Roles::PARTNER,
            officer: None,
            officer_key: crate::OfficerKey::default(),
            proof: crate::Proof::Token,
        };
        let row = &TABLES[0].methods[2];
        assert!(!row.admits(Some(&caller)) && !row.admits(None));
        let status = tonic::Status::from(denied(row, &caller));
        assert_eq!(
            status.message(),
            "`somebody`: only callers with the role operator or desk, and the service audit may call Vanished; the roles of \
             this caller: submitter"
        );
    }

    #[test]
    fn a_service_is_admitted_by_its_name_only() {
        let service = |system: &str, roles| Identity {
            system: system.to_owned(),
            agency: None,
            roles,
            officer: None,
            officer_key: crate::OfficerKey::default(),
            proof: crate::Proof::Token,
        };
        let kind = Kind::Service("intake");
        assert!(kind.admits(&service("intake", Roles::SERVICE)));
        assert!(!kind.admits(&service("audit", Roles::SERVICE)));
        assert!(!kind.admits(&service("intake", Roles::AGENCY)));
    }
}
