//! `remit operator`: load, query and list the operator register.

mod load;

use api::routing::{
    ListOperatorsRequest, ListOperatorsResponse, LookupOperatorRequest, LookupOperatorResponse, OperatorKind,
    OperatorPeriod, OperatorRegisterVersion, OperatorSubject, operator_period::Location,
    operator_service_client::OperatorServiceClient, operator_subject::Subject,
};
use clap::{Args, Subcommand, ValueEnum};
use host::config::Service;
use journal::Time;

pub use self::load::{File, load};
use crate::{
    client::{Access, Failed, RoutingServer, Target, pages},
    output::{self, Paint as _, dim, field, id, line, strong, tell, tr},
};

/// Load and read the operator register: who operates which domain, app or platform, and where
#[derive(Args, Clone, Debug)]
pub struct Command {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    server: RoutingServer,
}

// Types document their subcommands, except the short ones.
#[derive(Subcommand, Clone, Debug)]
enum Action {
    Load(load::Command),
    /// Look up who operates something, and where, and print every name tried
    ///
    /// Domains and addresses are tried by the registrable domain and the names up to five labels
    /// below it. Exits with 3 if the register has no entry.
    #[command(after_help = "\
Examples:
  remit operator lookup https://login.wallet-verify-center.example/x
  remit operator lookup app:cn.example.quick-loan --as police-510100
  remit operator lookup platform:示例视频 --at 2025-12-31T12:00:00+08:00")]
    Lookup {
        /// A domain or address; other names as `app:NAME` or `platform:NAME`
        subject: String,
        /// For a report accepted at this time, with time zone (RFC 3339) [default: now]
        #[arg(long, value_name = "TIME")]
        at: Option<jiff::Timestamp>,
    },
    /// List the register, by kind and name
    #[command(after_help = "Examples:\n  remit operator list\n  remit operator list --kind domain --limit 1000 --json")]
    List {
        /// Only names of this kind
        #[arg(long)]
        kind: Option<Kind>,
        /// Maximum number of names
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: usize,
    },
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Kind {
    App,
    Domain,
    Platform,
}

impl From<Kind> for OperatorKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::App => Self::App,
            Kind::Domain => Self::Domain,
            Kind::Platform => Self::Platform,
        }
    }
}

impl Command {
    /// Runs the command.
    pub async fn run(self) -> anyhow::Result<()> {
        let (access, server, json) = (&self.access, self.server.address(), self.access.json);
        match self.action {
            Action::Load(command) => command.run(access, server).await,
            Action::Lookup { subject, at } => {
                // Report problems with the name first: that needs no server.
                let request = LookupOperatorRequest {
                    subject: Some(subject_of(&subject)?),
                    time: at.map(|at| Time(at.as_microsecond()).to_proto()),
                };
                lookup(&access.target(Service::Routing, server)?, request, json).await
            }
            Action::List { kind, limit } => list(&access.target(Service::Routing, server)?, kind, limit, json).await,
        }
    }
}

fn subject_of(text: &str) -> anyhow::Result<OperatorSubject> {
    let subject = match text.split_once(':') {
        Some(("app", name)) => Subject::App(name.to_owned()),
        Some(("platform", name)) => Subject::Platform(name.to_owned()),
        Some(("domain", name)) => Subject::Host(name.to_owned()),
        _ if text.contains(['.', '。']) => Subject::Host(text.to_owned()),
        _ => {
            let message = format!("`{text}` is not a domain or address; use app:{text} or platform:{text}");
            return Err(Failed::Usage(message).into());
        }
    };
    Ok(OperatorSubject { subject: Some(subject) })
}

async fn lookup(routing: &Target, request: LookupOperatorRequest, json: bool) -> anyhow::Result<()> {
    let response = OperatorServiceClient::new(routing.channel.clone())
        .lookup_operator(request)
        .await
        .map_err(Failed::call(&routing.address))?
        .into_inner();
    if json {
        output::json(&response)?;
    } else {
        print_found(&response)?;
    }
    match response.registered_operator {
        Some(_) => Ok(()),
        None => Err(Failed::NotFound("not in the operator register".to_owned()).into()),
    }
}

fn print_found(response: &LookupOperatorResponse) -> std::io::Result<()> {
    if let (Some(operator), Some(period)) = (&response.registered_operator, &response.period) {
        let named = match period.organisation.as_str() {
            "" => tr("not named"),
            name => name,
        };
        field("operator", named.style(strong()))?;
        field("place", place(period))?;
        field(
            "by",
            format_args!("{} {}{}", kind(operator.kind()), operator.key, days(period)),
        )?;
    }
    for (i, step) in response.path.iter().enumerate() {
        let name = if i == 0 { "tried" } else { "" };
        let outcome = output::said(&step.outcome);
        field(name, format_args!("{} {}: {outcome}", kind(step.kind()), step.key))?;
    }
    field("register", version(response.version.as_ref()))
}

async fn list(routing: &Target, kinds: Option<Kind>, limit: usize, json: bool) -> anyhow::Result<()> {
    let mut read_from = None;
    let (operators, next_page_token) = pages(limit, async |page_size, page_token| {
        let request = ListOperatorsRequest {
            page_size,
            page_token,
            kind: kinds.map(OperatorKind::from).unwrap_or_default().into(),
        };
        let page = OperatorServiceClient::new(routing.channel.clone())
            .list_operators(request)
            .await
            .map_err(Failed::call(&routing.address))?
            .into_inner();
        read_from = page.version;
        Ok((page.operators, page.next_page_token))
    })
    .await?;
    let all = ListOperatorsResponse {
        operators,
        next_page_token,
        version: read_from,
    };
    if json {
        return output::json(&all);
    }
    let width = all
        .operators
        .iter()
        .map(|operator| output::columns(&operator.key))
        .max();
    let width = width.unwrap_or(0).min(60);
    for operator in &all.operators {
        for period in &operator.periods {
            line(format_args!(
                "{}  {}  {}  {}{}",
                output::padded(kind(operator.kind()), 8),
                output::padded(&operator.key, width),
                output::padded(&place(period), 24),
                period.organisation,
                days(period).style(dim())
            ))?;
        }
    }
    let more = match all.next_page_token.is_empty() {
        true => "",
        false => tr("; more entries exist: raise --limit"),
    };
    line(format_args!("{}{more}", version(all.version.as_ref())).style(dim()))?;
    Ok(())
}

fn kind(kind: OperatorKind) -> &'static str {
    match kind {
        OperatorKind::Unspecified => "-",
        OperatorKind::App => tr("app"),
        OperatorKind::Domain => tr("domain"),
        OperatorKind::Platform => tr("platform"),
    }
}

/// `350200 Xiamen`, or a country.
fn place(period: &OperatorPeriod) -> String {
    match &period.location {
        Some(Location::Territory(name)) => output::territory(id(name)),
        Some(Location::RegionCode(code)) => code.clone(),
        None => "-".to_owned(),
    }
}

/// ` from 2026-01-01 to 2026-12-31`, as far as limited.
fn days(period: &OperatorPeriod) -> String {
    let from = output::date(period.valid_from_date.as_ref());
    let to = output::date(period.valid_to_date.as_ref());
    match (from.is_empty(), to.is_empty()) {
        (true, true) => String::new(),
        (false, true) => tell(" from {0}", &[&from]),
        (true, false) => tell(" to {0}", &[&to]),
        (false, false) => tell(" from {0} to {1}", &[&from, &to]),
    }
}

/// `version 3, 1000000 entries, loaded 2026-03-02 09:00:00 CST`.
fn version(version: Option<&OperatorRegisterVersion>) -> String {
    match version {
        Some(version) if version.version > 0 => tell(
            "version {0}, {1} entries, loaded {2}",
            &[
                &version.version,
                &version.entry_count,
                &output::time(version.load_time.as_ref()),
            ],
        ),
        _ => tr("the register is empty: load it with `remit operator load`").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_recognised_by_prefix_or_form() {
        let text = str::to_owned;
        for (given, expected) in [
            ("shop.example.cn", Subject::Host(text("shop.example.cn"))),
            (
                "https://shop.example.cn:8443/x",
                Subject::Host(text("https://shop.example.cn:8443/x")),
            ),
            ("domain:shop.example.cn", Subject::Host(text("shop.example.cn"))),
            ("app:cn.example.loan", Subject::App(text("cn.example.loan"))),
            ("platform:示例视频", Subject::Platform(text("示例视频"))),
        ] {
            assert_eq!(subject_of(given).unwrap().subject, Some(expected), "{given}");
        }
        let refused = subject_of("示例视频").unwrap_err().to_string();
        assert!(refused.contains("platform:示例视频"), "{refused}");
    }
}
