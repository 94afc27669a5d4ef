//! What can be reported, for those who make forms.

use api::{
    google::r#type::LocalizedText,
    intake::{self as proto, ListCategoriesRequest, ListCategoriesResponse},
};
use names::Collection;
use rpc::{Failure, Violations, page};

use super::Service;
use crate::category::{Categories, Category, Detail, DetailKind, Evidence, Interest, LegalBasis, Need, Text, Urgency};

impl Service {
    /// A page of the categories.
    pub(crate) async fn list_categories(
        &self,
        request: &ListCategoriesRequest,
    ) -> Result<ListCategoriesResponse, Failure> {
        const FILTER: &str = "ListCategories";
        let mut violations = Violations::new();
        let seal = self.tokens.seal().await?;
        let size = violations.note(page::size(request.page_size))?;
        let after = violations.note(seal.decode(FILTER, &request.page_token))?;
        let (size, after) = violations.finish(|| size.zip(after))?;
        let mut found: Vec<_> = self
            .categories
            .after(after.as_deref())
            .take(size as usize + 1)
            .collect();
        Ok(ListCategoriesResponse {
            next_page_token: seal.cut(&mut found, size, FILTER, |last| last.id.clone()),
            categories: found
                .into_iter()
                .map(|category| message(category, &self.categories))
                .collect(),
        })
    }

    /// A category by its name.
    pub(crate) fn category(&self, name: &str) -> Result<proto::Category, Failure> {
        let names = Collection::CATEGORIES;
        let mut violations = Violations::new();
        let id = violations.check("name", names.id(name), names.fault());
        let id = violations.finish(|| id)?;
        let category = self.categories.get(id).ok_or(Failure::NotFound { what: "category" })?;
        Ok(message(category, &self.categories))
    }
}

fn message(category: &Category, categories: &Categories) -> proto::Category {
    proto::Category {
        name: Collection::CATEGORIES.of(&category.id),
        titles: texts(Some(&category.title)),
        legal_bases: category.legal_basis.iter().map(legal_basis).collect(),
        protected_interests: category
            .protects
            .iter()
            .map(|interest| protected_interest(*interest).into())
            .collect(),
        urgent: category.urgency == Urgency::Urgent,
        narrative_required: category.narrative == Need::Required,
        min_subject_count: count(category.subjects),
        details: category.details.iter().map(|of| detail(of, categories)).collect(),
        evidence_policy: match category.evidence {
            Evidence::Accepted => proto::EvidencePolicy::Accepted,
            Evidence::Refused => proto::EvidencePolicy::Refused,
        }
        .into(),
        evidence_refusal_texts: texts(category.evidence_refusal.as_ref()),
        publication: category.publication,
        retention_day_count: count(category.retention_days as usize),
    }
}

fn detail(detail: &Detail, categories: &Categories) -> proto::CategoryDetail {
    proto::CategoryDetail {
        path: detail.path.clone(),
        titles: texts(Some(&detail.title)),
        kind: detail_kind(detail.kind).into(),
        required: detail.required,
        choices: detail
            .choices
            .iter()
            .map(|value| proto::CategoryChoice {
                value: value.clone(),
                titles: texts(categories.choice_title(value)),
            })
            .collect(),
        future_allowed: detail.future,
    }
}

fn legal_basis(basis: &LegalBasis) -> proto::LegalBasis {
    proto::LegalBasis {
        law: basis.law.clone(),
        articles: basis.articles.clone(),
        version: basis.version.clone(),
        note: basis.note.clone().unwrap_or_default(),
    }
}

fn texts(text: Option<&Text>) -> Vec<LocalizedText> {
    text.map_or_else(Vec::new, |text| api::bilingual(&*text.zh, &*text.en))
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn detail_kind(kind: DetailKind) -> proto::CategoryDetailKind {
    match kind {
        DetailKind::Text => proto::CategoryDetailKind::Text,
        DetailKind::Url => proto::CategoryDetailKind::Url,
        DetailKind::Phone => proto::CategoryDetailKind::Phone,
        DetailKind::Account => proto::CategoryDetailKind::Account,
        DetailKind::Timestamp => proto::CategoryDetailKind::Timestamp,
        DetailKind::Integer => proto::CategoryDetailKind::Integer,
        DetailKind::Choice => proto::CategoryDetailKind::Choice,
    }
}

fn protected_interest(interest: Interest) -> proto::ProtectedInterest {
    match interest {
        Interest::Property => proto::ProtectedInterest::Property,
        Interest::PersonalSafety => proto::ProtectedInterest::PersonalSafety,
        Interest::MinorsAndConsent => proto::ProtectedInterest::MinorsAndConsent,
        Interest::Dignity => proto::ProtectedInterest::Dignity,
        Interest::PersonalData => proto::ProtectedInterest::PersonalData,
        Interest::Systems => proto::ProtectedInterest::Systems,
        Interest::Consumers => proto::ProtectedInterest::Consumers,
        Interest::PublicSafety => proto::ProtectedInterest::PublicSafety,
        Interest::OfficialIntegrity => proto::ProtectedInterest::OfficialIntegrity,
    }
}
