//! `remit category`: what can be reported, and what a report of it needs.

use api::intake::{
    Category, CategoryDetail, CategoryDetailKind, EvidencePolicy, GetCategoryRequest, ListCategoriesRequest,
    ListCategoriesResponse, ProtectedInterest, category_service_client::CategoryServiceClient,
};
use clap::{Args, Subcommand};
use host::config::Service;

use crate::{
    client::{Access, Failed, IntakeServer, Target, pages},
    output::{self, Paint as _, bad, dim, field, id, line, padded, strong, tell, tr},
};

/// Show what can be reported, by which law, and what a report of it needs
#[derive(Args, Clone, Debug)]
pub struct Command {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    server: IntakeServer,
}

#[derive(Subcommand, Clone, Debug)]
enum Action {
    /// List the categories, by id
    #[command(after_help = "Examples:\n  remit category list\n  remit category list --json")]
    List {
        /// Maximum number of categories
        #[arg(long, default_value_t = 1_000, value_name = "N")]
        limit: usize,
    },
    /// Show a category: everything that a form asks for, and the law it stands on
    #[command(after_help = "Example:\n  remit category show fraud.investment")]
    Show {
        /// Its id, or its name, `categories/{id}`
        category: String,
    },
}

impl Command {
    /// Runs the command.
    pub async fn run(self) -> anyhow::Result<()> {
        let json = self.access.json;
        let intake = self.access.target(Service::Intake, self.server.address())?;
        match self.action {
            Action::List { limit } => list(&intake, limit, json).await,
            Action::Show { category } => {
                let name = format!("categories/{}", id(&category));
                let response = CategoryServiceClient::new(intake.channel)
                    .get_category(GetCategoryRequest { name })
                    .await
                    .map_err(Failed::call(&intake.address))?
                    .into_inner();
                if json {
                    return output::json(&response);
                }
                print(&response.category.unwrap_or_default())
            }
        }
    }
}

async fn list(intake: &Target, limit: usize, json: bool) -> anyhow::Result<()> {
    let (categories, next_page_token) = pages(limit, async |page_size, page_token| {
        let request = ListCategoriesRequest { page_size, page_token };
        let page = CategoryServiceClient::new(intake.channel.clone())
            .list_categories(request)
            .await
            .map_err(Failed::call(&intake.address))?
            .into_inner();
        Ok((page.categories, page.next_page_token))
    })
    .await?;
    let all = ListCategoriesResponse {
        categories,
        next_page_token,
    };
    if json {
        return output::json(&all);
    }
    let width = |text: fn(&Category) -> String| {
        let widths = all.categories.iter().map(|category| output::columns(&text(category)));
        widths.max().unwrap_or(0)
    };
    let columns = width(|category| id(&category.name).to_owned());
    for category in &all.categories {
        let urgent = if category.urgent { tr("urgent") } else { "" };
        line(format_args!(
            "{}  {}  {}",
            padded(id(&category.name), columns).style(strong()),
            padded(urgent, 6).style(bad()),
            output::text(&category.titles),
        ))?;
    }
    if !all.next_page_token.is_empty() {
        line(tr("more categories exist: raise --limit").style(dim()))?;
    }
    Ok(())
}

fn print(category: &Category) -> anyhow::Result<()> {
    line(category.name.style(strong()))?;
    field("title", output::text(&category.titles))?;
    if category.urgent {
        field("urgency", tr("urgent: handled before others").style(bad()))?;
    }
    for basis in &category.legal_bases {
        let note = match basis.note.as_str() {
            "" => String::new(),
            note => format!("; {note}"),
        };
        let read = tell("(version read: {0}{1})", &[&basis.version, &note]);
        field(
            "law",
            format_args!("{} {} {}", basis.law, basis.articles, read.style(dim())),
        )?;
    }
    let protects: Vec<_> = category.protected_interests().map(interest).collect();
    field("protects", protects.join(", "))?;
    line("")?;
    line(tr("A report of it").style(strong()))?;
    field(
        "subjects",
        match category.min_subject_count {
            0 => tr("optional").to_owned(),
            least => tell("at least {0}", &[&least]),
        },
    )?;
    let need = |required| if required { tr("required") } else { tr("optional") };
    field("narrative", need(category.narrative_required))?;
    for detail in &category.details {
        let title = output::text(&detail.titles);
        field("detail", format_args!("{}  {title}", detail.path.style(strong())))?;
        field("", format_args!("{}, {}", need(detail.required), kind(detail)))?;
        for choice in &detail.choices {
            field(
                "",
                format_args!("  {}  {}", choice.value, output::text(&choice.titles).style(dim())),
            )?;
        }
    }
    match category.evidence_policy() {
        EvidencePolicy::Accepted => field("evidence", tr("accepted"))?,
        EvidencePolicy::Refused => {
            field("evidence", tr("refused").style(bad()))?;
            field("", output::text(&category.evidence_refusal_texts))?;
        }
        EvidencePolicy::Unspecified => {}
    }
    if category.publication {
        let about = tr(
            "a publication about somebody: the place of a victim that is an organisation or a public body does not decide who \
             handles it",
        );
        field("note", about)?;
    }
    field(
        "kept",
        tell("{0} days after the case has ended", &[&category.retention_day_count]),
    )?;
    Ok(())
}

fn kind(detail: &CategoryDetail) -> &'static str {
    match detail.kind() {
        CategoryDetailKind::Text => tr("any text"),
        CategoryDetailKind::Url => tr("a web address, such as https://example.cn/"),
        CategoryDetailKind::Phone => tr("a telephone number, such as +8613800000000"),
        CategoryDetailKind::Account => tr("an account number, 8 to 34 letters and digits"),
        CategoryDetailKind::Timestamp if detail.future_allowed => {
            tr("a time with its zone, such as 2026-11-01T10:00:00+08:00; it may lie in the future")
        }
        CategoryDetailKind::Timestamp => {
            tr("a time with its zone, such as 2026-11-01T10:00:00+08:00; not in the future")
        }
        CategoryDetailKind::Integer => tr("an integer"),
        CategoryDetailKind::Choice => tr("one of:"),
        CategoryDetailKind::Unspecified => tr("of a form that this version does not know"),
    }
}

fn interest(interest: ProtectedInterest) -> &'static str {
    match interest {
        ProtectedInterest::Property => tr("property"),
        ProtectedInterest::PersonalSafety => tr("safety of a person"),
        ProtectedInterest::MinorsAndConsent => tr("minors and consent"),
        ProtectedInterest::Dignity => tr("dignity"),
        ProtectedInterest::PersonalData => tr("personal data"),
        ProtectedInterest::Systems => tr("computer systems"),
        ProtectedInterest::Consumers => tr("consumers"),
        ProtectedInterest::PublicSafety => tr("public safety"),
        ProtectedInterest::OfficialIntegrity => tr("integrity of officials"),
        ProtectedInterest::Unspecified => tr("an interest that this version does not know"),
    }
}
