//! Names of values in rule sets: subject kinds, reporter relations, victim kinds.

use api::intake::{ReporterRelation, SubjectKind, VictimKind};

pub(super) const KINDS: [(SubjectKind, &str); 8] = [
    (SubjectKind::Url, "url"),
    (SubjectKind::Domain, "domain"),
    (SubjectKind::Account, "account"),
    (SubjectKind::App, "app"),
    (SubjectKind::Phone, "phone"),
    (SubjectKind::BankAccount, "bank-account"),
    (SubjectKind::Wallet, "wallet"),
    (SubjectKind::Organisation, "organisation"),
];
pub(super) const KIND_NAMES: &str = "the kinds url, domain, account, app, phone, bank-account, wallet and organisation";

pub(super) const RELATIONS: [(ReporterRelation, &str); 5] = [
    (ReporterRelation::Unspecified, "unspecified"),
    (ReporterRelation::Victim, "victim"),
    (ReporterRelation::Representative, "representative"),
    (ReporterRelation::Bystander, "bystander"),
    (ReporterRelation::Organisation, "organisation"),
];
pub(super) const RELATION_NAMES: &str = "the relations unspecified, victim, representative, bystander and organisation";

pub(super) const VICTIMS: [(VictimKind, &str); 4] = [
    (VictimKind::Unspecified, "unspecified"),
    (VictimKind::Person, "person"),
    (VictimKind::Organisation, "organisation"),
    (VictimKind::PublicBody, "public-body"),
];
pub(super) const VICTIM_NAMES: &str = "the kinds unspecified, person, organisation and public-body";

pub(super) fn named<T: Copy>(words: &[(T, &str)], name: &str) -> Option<T> {
    words.iter().find(|(_, known)| *known == name).map(|(word, _)| *word)
}

fn name_of<T: PartialEq>(words: &[(T, &'static str)], word: &T) -> &'static str {
    words
        .iter()
        .find(|(known, _)| known == word)
        .map_or("", |(_, name)| *name)
}

pub(super) fn kind_name(kind: SubjectKind) -> &'static str {
    name_of(&KINDS, &kind)
}

pub(super) fn relation_name(relation: ReporterRelation) -> &'static str {
    name_of(&RELATIONS, &relation)
}

pub(super) fn victim_name(kind: VictimKind) -> &'static str {
    name_of(&VICTIMS, &kind)
}
