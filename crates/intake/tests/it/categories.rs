//! What can be reported: a form made of the answer alone is accepted.

use std::collections::BTreeMap;

use api::intake::{
    Category, CategoryDetailKind, EvidencePolicy, GetCategoryRequest, ListCategoriesRequest, SubmitReportRequest,
};
use rpc::Limits;
use testkit::Backend;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::fixture::{Served, good, serve};

async fn page(served: &Served, size: i32, token: &str) -> Result<(Vec<Category>, String), Status> {
    let request = ListCategoriesRequest {
        page_size: size,
        page_token: token.to_owned(),
    };
    let page = served
        .categories("platform")
        .list_categories(request)
        .await?
        .into_inner();
    Ok((page.categories, page.next_page_token))
}

async fn all(served: &Served) -> Vec<Category> {
    page(served, 1_000, "").await.unwrap().0
}

#[tokio::test]
async fn pages_make_the_whole_list_and_each_category_is_the_same_alone() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let whole = all(&served).await;
    let mut paged = Vec::new();
    let mut token = String::new();
    loop {
        let (found, next) = page(&served, 7, &token).await.unwrap();
        assert!(found.len() == 7 || next.is_empty(), "only the last page is short");
        paged.extend(found);
        token = next;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, whole);
    assert!(whole.len() >= 29 && whole.is_sorted_by_key(|category| category.name.clone()));
    for category in whole {
        let request = GetCategoryRequest {
            name: category.name.clone(),
        };
        let one = served.categories("inspector").get_category(request).await.unwrap();
        assert_eq!(one.into_inner().category, Some(category));
    }
}

#[tokio::test]
async fn bad_requests_are_told_whole_and_unknown_categories_are_not_found() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let status = page(&served, -1, "garbage").await.unwrap_err();
    let fields = status.get_details_bad_request().unwrap().field_violations;
    let fields: Vec<_> = fields.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["page_size", "page_token"]);
    for (name, code) in [
        ("categories/fraud.no-such", Code::NotFound),
        ("categories/Fraud", Code::NotFound),
        ("categories/", Code::InvalidArgument),
        ("fraud", Code::InvalidArgument),
        ("reports/fraud", Code::InvalidArgument),
        ("", Code::InvalidArgument),
    ] {
        let request = GetCategoryRequest { name: name.to_owned() };
        let status = served.categories("hotline").get_category(request).await.unwrap_err();
        assert_eq!(status.code(), code, "{name}");
    }
}

/// A value that the category says it takes.
fn value(category: &Category, path: &str) -> String {
    let detail = category.details.iter().find(|detail| detail.path == path).unwrap();
    match detail.kind() {
        CategoryDetailKind::Choice => detail.choices[0].value.clone(),
        CategoryDetailKind::Integer => "3".to_owned(),
        CategoryDetailKind::Timestamp if detail.future_allowed => "2099-01-01T00:00:00+08:00".to_owned(),
        CategoryDetailKind::Timestamp => "2026-11-01T10:00:00+08:00".to_owned(),
        CategoryDetailKind::Phone => "+8613800000000".to_owned(),
        CategoryDetailKind::Account => "6222000000000000".to_owned(),
        CategoryDetailKind::Url => "https://example.cn/".to_owned(),
        CategoryDetailKind::Text => "text".to_owned(),
        CategoryDetailKind::Unspecified => panic!("{path} has no kind"),
    }
}

fn filled(category: &Category, with: impl Fn(bool) -> bool) -> SubmitReportRequest {
    let mut request = good();
    let report = request.report.as_mut().unwrap();
    let subject = report.subjects[0].clone();
    report.subjects = vec![subject; usize::try_from(category.min_subject_count).unwrap()];
    report.category = category.name.clone();
    report.narrative = match category.narrative_required {
        true => "what happened".to_owned(),
        false => String::new(),
    };
    let details = category.details.iter().filter(|detail| with(detail.required));
    report.details = details
        .map(|detail| (detail.path.clone(), value(category, &detail.path)))
        .collect::<BTreeMap<_, _>>();
    request
}

#[tokio::test]
async fn what_the_list_asks_for_is_enough_and_what_it_offers_is_taken() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let mut client = served.client("hotline");
    let mut asked = 0;
    for category in all(&served).await {
        for with in [|required: bool| required, |_| true] {
            let request = filled(&category, with);
            let answer = client.submit_report(request).await;
            answer.unwrap_or_else(|status| panic!("{}: {status}", category.name));
        }
        let unlabelled = category.details.iter().flat_map(|detail| &detail.choices);
        assert_eq!(unlabelled.filter(|choice| choice.titles.len() != 2).count(), 0);
        assert!(!category.titles.is_empty() && !category.legal_bases.is_empty());
        assert!(!category.protected_interests.is_empty() && category.retention_day_count > 0);
        let refuses = category.evidence_policy() == EvidencePolicy::Refused;
        assert_eq!(
            refuses,
            !category.evidence_refusal_texts.is_empty(),
            "{}",
            category.name
        );
        asked += category.details.iter().filter(|detail| detail.required).count();
    }
    assert!(asked >= 10, "{asked}");
}

#[tokio::test]
async fn a_missing_choice_is_refused_at_once_with_its_values() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    for category in all(&served).await {
        let status = served
            .client("hotline")
            .submit_report(filled(&category, |_| false))
            .await;
        let refused = status.err().and_then(|status| status.get_details_bad_request());
        let violations = refused.map(|refused| refused.field_violations).unwrap_or_default();
        for detail in category.details.iter().filter(|detail| detail.required) {
            let field = format!("report.details[{}]", detail.path);
            let said = violations.iter().find(|violation| violation.field == field);
            let said = &said.unwrap_or_else(|| panic!("{}: {field}", category.name)).description;
            for choice in &detail.choices {
                assert!(said.contains(&choice.value), "{}: {said}", category.name);
            }
        }
    }
}
