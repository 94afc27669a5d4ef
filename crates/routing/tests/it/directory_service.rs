//! The directory over gRPC: applied by operators, read by everybody.

use api::routing::apply_directory_request::Part;
use api::routing::{
    ApplyDirectoryRequest, ApplyDirectoryResponse, ApproveDirectoryRequest, DifferenceKind, DirectorySpec,
    GetAgencyRequest, GetDirectoryRequest, GetTerritoryRequest, ListAgenciesRequest, ListDesksRequest,
    ListDirectoryVersionsRequest, ListTerritoriesRequest, LocateAgencyRequest, TerritoryLevel,
    locate_agency_request::Place,
};
use decision::directory::{Directory, LIMIT};
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::civil::Date;
use routing::store::versions::Versions as _;
use testkit::Backend;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::fixture::gambling;
use crate::service::{Running, acting};

testkit::on_each_backend!(
    operators_apply_and_others_read,
    an_applied_directory_is_compared_stored_and_active,
    a_repeated_request_has_the_first_answer_and_undoes_nothing,
    p4_a_change_that_would_leave_an_open_case_without_owner_is_refused_naming_the_cases,
    all_faults_are_reported_and_nothing_is_applied,
    contradicting_agencies_are_named,
    a_file_of_200_megabytes_is_refused_early,
    places_and_agencies_are_listed_in_pages,
    locating_an_agency_shows_the_path_tried,
);

/// A file in parts, behind its announcement.
pub fn parts(spec: DirectorySpec, file: &str) -> Vec<ApplyDirectoryRequest> {
    let part = |part| ApplyDirectoryRequest { part: Some(part) };
    let spec = DirectorySpec {
        agencies_size_bytes: file.len() as i64 - spec.territories_size_bytes,
        ..spec
    };
    let data = file.as_bytes().chunks(1 << 10).map(<[u8]>::to_vec);
    std::iter::once(part(Part::Spec(spec)))
        .chain(data.map(|data| part(Part::Data(data.into()))))
        .collect()
}

async fn apply(
    running: &Running,
    system: &str,
    spec: DirectorySpec,
    file: &str,
) -> Result<ApplyDirectoryResponse, Status> {
    let mut directory = running.directory(system);
    let sent = acting(futures::stream::iter(parts(spec, file)), "o-1");
    let mut applied = directory.apply_directory(sent).await?.into_inner();
    if applied.proposed {
        let request = ApproveDirectoryRequest {
            etag: applied.etag.clone(),
            ..ApproveDirectoryRequest::default()
        };
        let mut other = running.directory("operator-second");
        let approved = other.approve_directory(acting(request, "o-2")).await?.into_inner();
        assert_eq!(approved.differences, applied.differences);
        (applied.proposed, applied.applied) = (false, approved.applied);
    }
    Ok(applied)
}

pub fn changes() -> DirectorySpec {
    DirectorySpec {
        changes: true,
        ..Default::default()
    }
}

pub const GUSU: &str = "put:\n  - {id: police-320508, functions: [police], territory: '320508', \
                    name: {zh: 姑苏, en: Gusu desk}, superior: police-320000}\n";

async fn operators_apply_and_others_read(backend: Backend) {
    let running = Running::start(backend).await;
    for system in ["handan", "intake"] {
        let denied = apply(&running, system, changes(), GUSU).await.unwrap_err();
        assert_eq!(denied.code(), Code::PermissionDenied, "{system}");
        let name = "agencies/police-CN".to_owned();
        let agency = running.directory(system).get_agency(GetAgencyRequest { name }).await;
        assert_eq!(
            api::text_in(&agency.unwrap().into_inner().agency.unwrap().titles, "en"),
            "National network-police desk"
        );
        let file = async |territories| {
            let request = GetDirectoryRequest {
                territories,
                ..Default::default()
            };
            let parts = running.directory(system).get_directory(request).await?;
            parts.into_inner().try_collect::<Vec<_>>().await
        };
        assert_eq!(
            file(false).await.unwrap_err().code(),
            Code::PermissionDenied,
            "{system}"
        );
        let request = ListDirectoryVersionsRequest::default();
        let versions = running.directory(system).list_directory_versions(request).await;
        assert_eq!(versions.unwrap_err().code(), Code::PermissionDenied, "{system}");
        let tree: Vec<u8> = file(true)
            .await
            .unwrap()
            .iter()
            .flat_map(|part| part.territories.to_vec())
            .collect();
        assert_eq!(
            tree,
            Directory::shipped().territories().source().as_bytes(),
            "for everybody"
        );
    }
    running.finish().await;
}

async fn an_applied_directory_is_compared_stored_and_active(backend: Backend) {
    let running = Running::start(backend).await;
    let try_out = DirectorySpec {
        validate_only: true,
        ..changes()
    };
    let tried = apply(&running, "operator", try_out, GUSU).await.unwrap();
    assert!(
        !tried.applied && tried.difference_count == 1 && tried.findings.is_empty(),
        "{tried:?}"
    );
    let difference = &tried.differences[0];
    assert_eq!(
        (difference.kind(), difference.resource.as_str()),
        (DifferenceKind::Added, "agencies/police-320508")
    );
    let first = running.fixture.store.active().digests().directory;
    assert_eq!(first, Directory::shipped().digest(), "only tried");

    let applied = apply(&running, "operator", changes(), GUSU).await.unwrap();
    assert!(applied.applied);
    assert_eq!(applied.etag, tried.etag);
    let again = apply(&running, "operator", changes(), GUSU).await.unwrap();
    assert!(!again.applied && again.differences.is_empty(), "{again:?}");

    // A second proposal against the former directory.
    let stale = DirectorySpec {
        etag: data_encoding::HEXLOWER.encode(&first),
        ..changes()
    };
    let refused = apply(&running, "operator", stale, "remove: [police-320508]")
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);

    let mut operator = running.directory("operator");
    let request = GetDirectoryRequest::default();
    let parts: Vec<_> = operator
        .get_directory(request)
        .await
        .unwrap()
        .into_inner()
        .try_collect()
        .await
        .unwrap();
    let file: Vec<u8> = parts.iter().flat_map(|part| part.agencies.to_vec()).collect();
    assert_eq!(parts[0].version, format!("directoryVersions/{}", applied.etag));
    // The whole file, uploaded again, is the same version.
    let whole = apply(
        &running,
        "operator",
        DirectorySpec::default(),
        std::str::from_utf8(&file).unwrap(),
    )
    .await;
    assert_eq!(
        (whole.as_ref().unwrap().applied, &whole.as_ref().unwrap().etag),
        (false, &applied.etag)
    );
    let etag = data_encoding::HEXLOWER.encode(&first);
    let request = GetDirectoryRequest {
        name: format!("directoryVersions/{etag}"),
        ..Default::default()
    };
    let parts: Vec<_> = operator
        .get_directory(request)
        .await
        .unwrap()
        .into_inner()
        .try_collect()
        .await
        .unwrap();
    let old: Vec<u8> = parts.iter().flat_map(|part| part.agencies.to_vec()).collect();
    assert_eq!(old, Directory::shipped().source().as_bytes());

    let request = ListDirectoryVersionsRequest::default();
    let versions = operator
        .list_directory_versions(request)
        .await
        .unwrap()
        .into_inner()
        .versions;
    let listed: Vec<_> = versions
        .iter()
        .map(|version| (version.etag.as_str(), version.activated_by.as_str()))
        .collect();
    assert_eq!(
        listed,
        [(applied.etag.as_str(), "operator"), (etag.as_str(), "routing")]
    );
    assert_eq!(versions[1].name, format!("directoryVersions/{etag}"));
    let malformed = GetDirectoryRequest {
        name: etag,
        ..Default::default()
    };
    let refused = operator.get_directory(malformed).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    running.finish().await;
}

async fn a_repeated_request_has_the_first_answer_and_undoes_nothing(backend: Backend) {
    let running = Running::start(backend).await;
    let first = running.fixture.store.active().digests().directory;
    let id = |n: u128| uuid::Uuid::from_u128(n).to_string();
    let asked = |n: u128| DirectorySpec {
        request_id: id(n),
        etag: data_encoding::HEXLOWER.encode(&first),
        ..changes()
    };
    // Looking first takes no id.
    let tried = DirectorySpec {
        validate_only: true,
        ..asked(1)
    };
    assert!(!apply(&running, "operator", tried, GUSU).await.unwrap().applied);
    let applied = apply(&running, "operator", asked(1), GUSU).await.unwrap();
    assert!(applied.applied);
    // The etag is no longer that of the version in force, because of this very request.
    assert_eq!(apply(&running, "operator", asked(1), GUSU).await.unwrap(), applied);

    let gone = "remove: [police-320508]";
    let nothing_new = DirectorySpec {
        request_id: id(2),
        ..changes()
    };
    let unchanged = apply(&running, "operator", nothing_new.clone(), GUSU).await.unwrap();
    assert!(!unchanged.applied);
    assert!(apply(&running, "operator", changes(), gone).await.unwrap().applied);
    let after = running.fixture.store.active().digests().directory;
    assert_eq!(apply(&running, "operator", asked(1), GUSU).await.unwrap(), applied);
    assert_eq!(apply(&running, "operator", nothing_new, GUSU).await.unwrap(), unchanged);
    assert_eq!(
        running.fixture.store.active().digests().directory,
        after,
        "not applied again"
    );

    // Other content: the file, or what is to be done with it.
    let whole = DirectorySpec {
        changes: false,
        ..asked(1)
    };
    for (spec, file) in [(asked(1), gone), (whole, GUSU)] {
        let refused = apply(&running, "operator", spec, file).await.unwrap_err();
        assert_eq!(refused.code(), Code::AlreadyExists, "{refused:?}");
    }
    let malformed = DirectorySpec {
        request_id: "1".to_owned(),
        ..changes()
    };
    let refused = apply(&running, "operator", malformed, GUSU).await.unwrap_err();
    let violation = refused.get_details_bad_request().unwrap().field_violations.remove(0);
    assert_eq!(violation.field, "spec.request_id");
    running.finish().await;
}

async fn p4_a_change_that_would_leave_an_open_case_without_owner_is_refused_naming_the_cases(backend: Backend) {
    let running = Running::start(backend).await;
    let case = running.fixture.open(&[gambling()]).await[0];
    let gone = "remove: [police-450100]";
    let refused = apply(&running, "operator", changes(), gone).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let said = format!("`police-450100` owns cases/{case}");
    assert!(refused.message().contains(&said), "{refused:?}");
    let try_out = DirectorySpec {
        validate_only: true,
        ..changes()
    };
    let tried = apply(&running, "operator", try_out, gone).await.unwrap();
    assert_eq!(tried.ownerless[0].case_name, format!("cases/{case}"));
    assert_eq!(tried.ownerless[0].owner, "agencies/police-450100");
    running.finish().await;
}

async fn all_faults_are_reported_and_nothing_is_applied(backend: Backend) {
    let running = Running::start(backend).await;
    let file = "last_resort: c\nagencies:\n  - {id: a, functions: [police], territory: '320000', superior: b, \
                name: {zh: 甲, en: A}}\n  - {id: b, functions: [police], territory: '999999', superior: a, \
                name: {zh: 乙, en: B}}\n";
    let refused = apply(&running, "operator", DirectorySpec::default(), file)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let violations = refused.get_details_bad_request().unwrap().field_violations;
    let said: Vec<_> = violations
        .iter()
        .map(|violation| violation.description.as_str())
        .collect();
    for part in [
        "agency `b`: territory: the tree has no territory 999999",
        "last_resort: the agency `c` does not exist",
    ] {
        assert!(said.iter().any(|said| said.contains(part)), "{part}: {said:?}");
    }
    for (first, file) in [
        (DirectorySpec::default(), "agencies: 3"),
        (DirectorySpec::default(), ""),
        (
            DirectorySpec {
                etag: "x".to_owned(),
                ..changes()
            },
            GUSU,
        ),
        (
            DirectorySpec {
                territories_size_bytes: 5,
                ..changes()
            },
            &[GUSU, "code\n"].concat(),
        ),
        // The active rule set would name functions that no agency has.
        (
            DirectorySpec::default(),
            "last_resort: c\nagencies:\n  - {id: c, functions: [conference], territory: CN, name: {zh: 会, en: C}}\n",
        ),
    ] {
        let refused = apply(&running, "operator", first, file).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{file}");
    }
    let elsewhere = GUSU.replace("superior:", "calendar: XX, superior:");
    let refused = apply(&running, "operator", changes(), &elsewhere).await.unwrap_err();
    let violations = refused.get_details_bad_request().unwrap().field_violations;
    let said = "agency `police-320508`: the calendar `XX` does not exist, only CN";
    assert!(violations[0].description.contains(said), "{violations:?}");
    let nothing = futures::stream::iter(Vec::new());
    let refused = running
        .directory("operator")
        .apply_directory(nothing)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(
        running.fixture.store.active().digests().directory,
        Directory::shipped().digest()
    );
    running.finish().await;
}

async fn contradicting_agencies_are_named(backend: Backend) {
    let running = Running::start(backend).await;
    let unit = |id: &str, rest: &str| {
        format!(
            "  - {{id: {id}, functions: [police], territory: '320508', name: {{zh: 姑苏, en: Gusu}}, superior: police-320000{rest}}}\n"
        )
    };
    let circle =
        unit("a", "").replace("police-320000", "b") + &unit("b", ", categories: [fraud]").replace("police-320000", "a");
    for (what, put, said) in [
        (
            "superiors in a circle",
            circle,
            vec![
                "agency `a`: superior: the agency is above itself (a → b → a)",
                "agency `b`: superior: the agency is above itself (b → a → b)",
            ],
        ),
        (
            "two for one function, territory and category",
            unit("a", ", categories: [fraud, drugs]") + &unit("b", ", categories: [fraud.loan, weapons]"),
            vec![
                "agency `b`: functions, categories: `a` also has the function `police` at 320508 姑苏区, for fraud.loan",
            ],
        ),
        (
            "a successor that is not there",
            unit("a", ", valid_to: 2027-01-01, successor: nobody"),
            vec!["agency `a`: successor: the agency `nobody` does not exist"],
        ),
    ] {
        let refused = apply(&running, "operator", changes(), &format!("put:\n{put}"))
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{what}");
        let violations = refused.get_details_bad_request().unwrap().field_violations;
        for said in said {
            let told = |violation: &tonic_types::FieldViolation| violation.description.starts_with(said);
            assert!(violations.iter().any(told), "{what}: {violations:?}");
        }
    }
    assert_eq!(
        running.fixture.store.active().digests().directory,
        Directory::shipped().digest()
    );
    running.finish().await;
}

async fn a_file_of_200_megabytes_is_refused_early(backend: Backend) {
    use std::sync::atomic::{AtomicU64, Ordering};
    let running = Running::start(backend).await;
    let sent = std::sync::Arc::new(AtomicU64::new(0));
    // Announced as large as it is, or as a small one.
    for (announced, said) in [(200 << 20, "is it the right one?"), (1 << 20, "more came")] {
        let spec = DirectorySpec {
            agencies_size_bytes: announced,
            ..DirectorySpec::default()
        };
        let counted = std::sync::Arc::clone(&sent);
        let parts = futures::stream::iter(0..200).map(move |i| {
            counted.fetch_add(1, Ordering::SeqCst);
            let part = match i {
                0 => Part::Spec(spec.clone()),
                _ => Part::Data(vec![b'#'; 1 << 20].into()),
            };
            ApplyDirectoryRequest { part: Some(part) }
        });
        let refused = running.directory("operator").apply_directory(parts).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        let violation = refused.get_details_bad_request().unwrap().field_violations.remove(0);
        assert_eq!(violation.field, "spec.agencies_size_bytes");
        assert!(violation.description.contains(said), "{violation:?}");
    }
    // The rest was in transit: the server took no more than the limit.
    let sent = sent.load(Ordering::SeqCst);
    assert!(sent < 100, "{sent} MiB were sent, {LIMIT} bytes are the limit");
    running.finish().await;
}

async fn places_and_agencies_are_listed_in_pages(backend: Backend) {
    let running = Running::start(backend).await;
    let mut caller = running.directory("handan");
    let mut request = ListTerritoriesRequest {
        parent: "territories/CN".to_owned(),
        page_size: 20,
        ..Default::default()
    };
    let mut names = Vec::new();
    loop {
        let page = caller.list_territories(request.clone()).await.unwrap().into_inner();
        assert!(page.territories.len() <= 20);
        names.extend(page.territories.into_iter().map(|territory| territory.name));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(names.len(), 31);
    let other = ListTerritoriesRequest {
        parent: "territories/320000".to_owned(),
        page_token: "AAAA".to_owned(),
        ..Default::default()
    };
    assert_eq!(
        caller.list_territories(other).await.unwrap_err().code(),
        Code::InvalidArgument
    );

    let get = async |name: &str| {
        let request = GetTerritoryRequest { name: name.to_owned() };
        let response = running.directory("handan").get_territory(request).await;
        response.map(|response| response.into_inner().territory.unwrap())
    };
    let gone = get("territories/320504").await.unwrap();
    assert_eq!(
        (
            gone.successor.as_str(),
            gone.valid_to_date.and_then(|date| api::day(&date))
        ),
        ("territories/320508", Some(Date::constant(2011, 12, 31)))
    );
    let dissolved = get("territories/320304").await.unwrap();
    assert_eq!(
        (dissolved.successor.as_str(), dissolved.read_as.as_str()),
        ("", "territories/320300")
    );
    assert_eq!(
        get("territories/110101001").await.unwrap().level(),
        TerritoryLevel::Township
    );
    assert_eq!(get("territories/999999").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(get("US").await.unwrap_err().code(), Code::InvalidArgument);

    let mut request = ListAgenciesRequest {
        agency_function: "police".to_owned(),
        territory: "territories/320000".to_owned(),
        page_size: 2,
        ..Default::default()
    };
    let mut ids = Vec::new();
    loop {
        let page = caller.list_agencies(request.clone()).await.unwrap().into_inner();
        ids.extend(page.agencies.into_iter().map(|agency| agency.name));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let expected = ["police-320000", "police-320100", "police-320300", "police-320600"];
    assert_eq!(ids, expected.map(|id| format!("agencies/{id}")));
    running.finish().await;
}

async fn locating_an_agency_shows_the_path_tried(backend: Backend) {
    let running = Running::start(backend).await;
    let locate = async |place: &str, function: &str| {
        let request = LocateAgencyRequest {
            place: Some(match place.starts_with("territories/") {
                true => Place::Territory(place.to_owned()),
                false => Place::RegionCode(place.to_owned()),
            }),
            agency_function: function.to_owned(),
            ..Default::default()
        };
        running
            .directory("handan")
            .locate_agency(request)
            .await
            .map(tonic::Response::into_inner)
    };
    let found = locate("territories/320504", "police").await.unwrap();
    assert_eq!(found.agency.unwrap().name, "agencies/police-320000");
    assert_eq!(
        (found.via, found.climb),
        (
            vec!["territories/320504".to_owned()],
            ["320508", "320500", "320000"]
                .map(|code| format!("territories/{code}"))
                .to_vec()
        )
    );
    assert!(
        found
            .outcome
            .contains("320504 is abolished, resolved to its successor 320508"),
        "{}",
        found.outcome
    );
    let divided = locate("territories/320304", "police").await.unwrap().outcome;
    assert!(
        divided.contains("was divided among 320302, 320311, 320312, resolved to 320300, which holds them"),
        "{divided}"
    );
    let parent = locate("territories/110200", "police").await.unwrap().outcome;
    assert!(
        parent.contains("without a single successor, resolved to 110000, in which it lies"),
        "{parent}"
    );
    // A country is outside the tree, which is no error. An unknown code is one.
    let abroad = locate("us", "police").await.unwrap();
    assert!(
        abroad.agency.is_none() && abroad.outcome.contains("outside the tree"),
        "{abroad:?}"
    );
    let never = locate("territories/999999", "not a name").await.unwrap_err();
    let violations = never.get_details_bad_request().unwrap().field_violations;
    assert_eq!(violations.len(), 2, "{violations:?}");
    assert!(
        violations[1].description.contains("there never was a territory 999999"),
        "{violations:?}"
    );
    assert!(
        locate("territories/320500", "nobody-does-this")
            .await
            .unwrap()
            .agency
            .is_none()
    );

    let request = ListDesksRequest {
        territory: "territories/320300".to_owned(),
        page_size: 3,
        ..Default::default()
    };
    let mut caller = running.directory("handan");
    let mut request = request;
    let mut desks = Vec::new();
    loop {
        let page = caller.list_desks(request.clone()).await.unwrap().into_inner();
        assert!(page.desks.len() <= 3);
        desks.extend(page.desks);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    // A token is bound to its request.
    request.page_size = 1;
    request.page_token = caller
        .list_desks(request.clone())
        .await
        .unwrap()
        .into_inner()
        .next_page_token;
    request.territory = "territories/320000".to_owned();
    let refused = caller.list_desks(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let desk = |function: &str| {
        let desk = desks.iter().find(|desk| desk.agency_function == function).unwrap();
        desk.located.as_ref().unwrap().agency.as_ref().unwrap().name.clone()
    };
    assert_eq!(desk("police"), "agencies/police-320300");
    assert_eq!(desk("inspection"), "agencies/inspection-320000");
    assert_eq!(desks.len(), Directory::shipped().functions().len());
    running.finish().await;
}
