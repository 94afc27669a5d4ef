//! `remit access`: who may call what, as the running services enforce it.

use api::operations::{
    AccessRow, GetAccessTableRequest, GetAccessTableResponse, operations_service_client::OperationsServiceClient,
};
use clap::{Args, Subcommand};
use host::config::Service;

use crate::{
    client::{Access, Failed, Servers},
    output::{self, Paint as _, line, strong},
};

/// Show who may call which method, as the running services enforce it
///
/// Asks each of the three services for its table of access. For auditors and operators.
#[derive(Args, Clone, Debug)]
pub struct Command {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    servers: Servers,
}

#[derive(Subcommand, Clone, Debug)]
enum Action {
    /// List the methods of all services with the roles that may call them
    #[command(after_help = "\
Examples:
  remit access list --as auditor
  remit access list --role reviewer
  remit access list --json")]
    List {
        /// Only methods that this role opens
        #[arg(long, value_name = "ROLE")]
        role: Option<String>,
    },
}

impl Command {
    /// Runs the command.
    pub async fn run(self) -> anyhow::Result<()> {
        let Action::List { role } = &self.action;
        if let Some(role) = role
            && rpc::Role::named(role).is_none()
        {
            let known = rpc::Role::ALL.map(rpc::Role::name).join(", ");
            return Err(Failed::Usage(format!("`{role}` is no role; there are {known}")).into());
        }
        let mut rows: Vec<AccessRow> = Vec::new();
        for service in Service::ALL {
            let target = self.access.target(service, self.servers.address(service))?;
            let answer = OperationsServiceClient::new(target.channel)
                .get_access_table(GetAccessTableRequest {})
                .await
                .map_err(Failed::call(&target.address))?;
            // What every server has stands there once.
            let new = answer.into_inner().rows.into_iter().filter(|row| !rows.contains(row));
            let new: Vec<_> = new.collect();
            rows.extend(new);
        }
        if let Some(role) = role {
            rows.retain(|row| row.callers.contains(role));
        }
        match self.access.json {
            true => output::json(&GetAccessTableResponse { rows }),
            false => Ok(print(&rows)?),
        }
    }
}

fn print(rows: &[AccessRow]) -> std::io::Result<()> {
    let width = rows.iter().map(|row| row.method.len()).max().unwrap_or(0);
    let mut service = "";
    for row in rows {
        if row.service != service {
            if !service.is_empty() {
                line("")?;
            }
            service = &row.service;
            line(service.style(strong()))?;
        }
        let only = match row.condition.as_str() {
            "" => String::new(),
            when => format!("; {when}: {}", row.conditional_callers.join(", ")),
        };
        line(format_args!(
            "  {:width$}  {}{only}",
            row.method,
            row.callers.join(", ")
        ))?;
    }
    Ok(())
}
