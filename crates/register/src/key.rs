//! Registered names, and the names to look up for a subject.

use std::fmt;

use api::{
    routing::{OperatorKind, OperatorSubject, operator_subject},
    text::{Form, control},
};
use names::{
    Collection,
    subject::{self, host},
};

/// Maximum number of characters in the name of an app or a platform.
const NAME: usize = 200;

/// Maximum number of names that a host is looked up by, and so the depth to which names can be
/// registered: a host can have 126 labels, and each would be a look-up that the sender chooses.
const DEPTH: usize = 6;

/// The kind of a registered name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An application, by package id or name.
    App,
    /// A domain name.
    Domain,
    /// A platform, by name.
    Platform,
}

impl Kind {
    /// All kinds, in the order of the register.
    pub const ALL: [Self; 3] = [Self::App, Self::Domain, Self::Platform];

    /// The kind as written in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Domain => "domain",
            Self::Platform => "platform",
        }
    }

    /// Converts to the contract's enum.
    pub fn to_proto(self) -> OperatorKind {
        match self {
            Self::App => OperatorKind::App,
            Self::Domain => OperatorKind::Domain,
            Self::Platform => OperatorKind::Platform,
        }
    }

    /// Converts from the contract's enum; `None` if unset.
    pub fn from_proto(kind: OperatorKind) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.to_proto() == kind)
    }
}

/// Why a text is not a name of its kind. The text follows the name of a column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Unknown kind.
    #[error("`{0}` is not a kind; use domain, app or platform")]
    Kind(String),
    /// The name is missing.
    #[error("is missing; write a domain, an app or a platform")]
    Missing,
    /// Not a domain name, or more than one.
    #[error("`{0}` is not a domain name; write the name alone, without scheme, port and path, such as shop.example.cn")]
    Domain(String),
    /// A public suffix: names below it belong to different people.
    #[error(
        "`{0}` is a public suffix: the public registers names below it, each with an operator of its own; register those"
    )]
    PublicSuffix(String),
    /// Deeper than hosts are looked up.
    #[error(
        "`{0}` is more than five labels below `{1}`, deeper than reports are looked up; register a name that it is below"
    )]
    Deep(String, String),
    /// The name is too long.
    #[error("has {0} characters, more than {NAME}")]
    Long(usize),
    /// The name contains a character that would make two names look the same, or a resource name
    /// ambiguous.
    #[error("`{0}` has a slash or a control character; write the name alone")]
    Character(String),
}

/// A registered name in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    kind: Kind,
    name: String,
}

impl Key {
    /// Parses a name to register. Domains may be in any case and script, with or without a trailing
    /// dot.
    ///
    /// # Errors
    ///
    /// If it is not a name of its kind, or is a public suffix.
    pub fn new(kind: Kind, text: &str) -> Result<Self, InvalidKey> {
        let text = text.trim();
        let name = match kind {
            Kind::Domain => {
                let host = host(text).ok_or_else(|| match text.is_empty() {
                    true => InvalidKey::Missing,
                    false => InvalidKey::Domain(shown(text)),
                })?;
                let registrable = psl::domain_str(&host).ok_or_else(|| InvalidKey::PublicSuffix(shown(text)))?;
                if starts(&host, registrable).first() != Some(&0) {
                    return Err(InvalidKey::Deep(shown(text), registrable.to_owned()));
                }
                host
            }
            Kind::App | Kind::Platform => plain(kind, text)?,
        };
        Ok(Self { kind, name })
    }

    /// Parses a resource name, `operators/{kind}~{key}`.
    pub fn from_resource_name(name: &str) -> Result<Self, InvalidKey> {
        let (kind, key) = Collection::OPERATORS
            .id(name)
            .and_then(|id| id.split_once('~'))
            .ok_or_else(|| InvalidKey::Kind(shown(name)))?;
        let key = Self::new(kind.parse()?, key)?;
        match key.resource_name() == name {
            true => Ok(key),
            // Another spelling of it, such as a host in capitals: what is looked up is forgiven
            // that, a name is not.
            false => Err(InvalidKey::Kind(shown(name))),
        }
    }

    /// The resource name, `operators/{kind}~{key}`.
    pub fn resource_name(&self) -> String {
        Collection::OPERATORS.of(format_args!("{}~{}", self.kind.as_str(), self.name))
    }

    /// Kind of the name.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The name without its kind.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The stored form, `{kind}:{name}`, which keeps names of one kind together.
    pub fn stored(&self) -> String {
        format!("{}:{}", self.kind.as_str(), self.name)
    }

    /// Parses the stored form; `None` if it is not one.
    pub fn from_stored(stored: &str) -> Option<Self> {
        let (kind, name) = stored.split_once(':')?;
        Some(Self {
            kind: kind.parse().ok()?,
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.name)
    }
}

impl std::str::FromStr for Kind {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        known.ok_or_else(|| InvalidKey::Kind(shown(text)))
    }
}

/// Returns the registered names that would stand for a subject, most specific first. Empty if none
/// can: an IP address, or a text that is not a name.
///
/// For a host these are the host and the names above it down to the registrable domain (the public
/// suffix and one label, by the list at publicsuffix.org including its private part: the owner of a
/// name below `github.io` operates what is there), and of those the six nearest to it: a deeper name
/// cannot be registered. Never the suffix: names below it belong to different people.
pub fn candidates(subject: &OperatorSubject) -> Vec<Key> {
    match &subject.subject {
        None => Vec::new(),
        Some(operator_subject::Subject::Host(text)) => domains(text),
        Some(operator_subject::Subject::App(text)) => Key::new(Kind::App, text).into_iter().collect(),
        // People refer to a platform by its name or its address.
        Some(operator_subject::Subject::Platform(text)) => {
            let name = Key::new(Kind::Platform, text);
            name.into_iter().chain(domains(text)).collect()
        }
    }
}

fn domains(text: &str) -> Vec<Key> {
    let Some(host) = host(without_scheme_and_port(text.trim())) else {
        return Vec::new();
    };
    let Some(registrable) = psl::domain_str(&host) else {
        return Vec::new();
    };
    let name = |start: usize| Key {
        kind: Kind::Domain,
        name: host[start..].to_owned(),
    };
    starts(&host, registrable).into_iter().map(name).collect()
}

/// Where the names begin that a host is looked up by: of the host and the names above it, those
/// nearest its registrable domain, [`DEPTH`] with that.
fn starts(host: &str, registrable: &str) -> Vec<usize> {
    let most = host.len() - registrable.len();
    let dots = host.match_indices('.').map(|(dot, _)| dot + 1);
    let mut starts: Vec<usize> = std::iter::once(0)
        .chain(dots)
        .take_while(|start| *start <= most)
        .collect();
    starts.split_off(starts.len().saturating_sub(DEPTH))
}

/// The host of an address; a text without scheme, port and path is returned unchanged.
fn without_scheme_and_port(text: &str) -> &str {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The canonical name of an app or a platform.
fn plain(kind: Kind, text: &str) -> Result<String, InvalidKey> {
    if text.chars().count() > NAME {
        return Err(InvalidKey::Long(text.chars().count()));
    }
    if text.contains('/') || control(text, Form::Line).is_some() {
        return Err(InvalidKey::Character(shown(text)));
    }
    let name = match kind {
        Kind::Platform => subject::platform(text),
        Kind::App | Kind::Domain => subject::name(text),
    };
    if name.is_empty() {
        return Err(InvalidKey::Missing);
    }
    // A compatibility form of one.
    if name.contains('/') {
        return Err(InvalidKey::Character(shown(text)));
    }
    // Compatibility forms can expand.
    match name.chars().count() {
        length if length > NAME => Err(InvalidKey::Long(length)),
        _ => Ok(name),
    }
}

/// The beginning of a text, for messages.
pub(super) fn shown(text: &str) -> String {
    if text.chars().count() <= 60 {
        return text.to_owned();
    }
    format!("{}…", text.chars().take(60).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_of(text: &str) -> OperatorSubject {
        OperatorSubject {
            subject: Some(operator_subject::Subject::Host(text.to_owned())),
        }
    }

    #[track_caller]
    fn check(subject: &OperatorSubject, expected: &[&str]) {
        let found: Vec<_> = candidates(subject).iter().map(Key::stored).collect();
        assert_eq!(found, expected, "{subject:?}");
    }

    #[test]
    fn a_host_is_looked_up_from_itself_to_its_registrable_domain() {
        for (text, expected) in [
            (
                "a.b.example.com.cn",
                &[
                    "domain:a.b.example.com.cn",
                    "domain:b.example.com.cn",
                    "domain:example.com.cn",
                ][..],
            ),
            ("example.com.cn", &["domain:example.com.cn"]),
            ("com.cn", &[]),
            ("cn", &[]),
            ("www.gov.cn", &["domain:www.gov.cn"]),
            // An unlisted suffix is the last label.
            (
                "login.wallet.example",
                &["domain:login.wallet.example", "domain:wallet.example"],
            ),
            // A hosting customer's conduct is not the hoster's: the private part of the list
            // counts.
            (
                "a.someone.github.io",
                &["domain:a.someone.github.io", "domain:someone.github.io"],
            ),
            ("github.io", &[]),
            // What nobody can register is not looked up, however deep the sender makes it.
            (
                "a.a.a.1.2.3.4.5.example.cn",
                &[
                    "domain:1.2.3.4.5.example.cn",
                    "domain:2.3.4.5.example.cn",
                    "domain:3.4.5.example.cn",
                    "domain:4.5.example.cn",
                    "domain:5.example.cn",
                    "domain:example.cn",
                ],
            ),
        ] {
            check(&host_of(text), expected);
        }
    }

    #[test]
    fn spellings_of_a_host_have_one_canonical_form() {
        let one = ["domain:www.xn--fsqu00a.cn", "domain:xn--fsqu00a.cn"];
        for text in [
            "www.例子.cn",
            "WWW.例子.CN.",
            "www.xn--fsqu00a.cn",
            "www。例子。cn。",
            "www.例\u{200b}子.cn\u{feff}",
            "https://www.例子.cn/path?x=a.b",
            "http://user:word@www.例子.cn:8080",
            "www.例子.cn:443",
            " www.例子.cn ",
        ] {
            check(&host_of(text), &one);
        }
    }

    #[test]
    fn a_text_that_is_not_a_name_is_not_looked_up() {
        for text in [
            "",
            ".",
            "..",
            "192.0.2.7",
            "192.0.2.7:80",
            "0x7f.1",
            "[2001:db8::1]",
            "https://[2001:db8::1]:443/",
            "localhost",
            "a..example.cn",
            "a b.example.cn",
            "a%2eexample.cn",
            "-",
        ] {
            check(&host_of(text), &[]);
        }
        check(&host_of(&format!("{}.cn", "a".repeat(64))), &[]);
        check(&host_of(&format!("{}example.cn", "a.".repeat(130))), &[]);
        check(&OperatorSubject::default(), &[]);
    }

    #[test]
    fn names_of_apps_and_platforms_ignore_case_width_and_spaces() {
        let app = |text: &str| OperatorSubject {
            subject: Some(operator_subject::Subject::App(text.to_owned())),
        };
        check(&app(" CN.Example.Ｌｏａｎ "), &["app:cn.example.loan"]);
        check(&app("快贷\u{3000}  极速版"), &["app:快贷 极速版"]);
        check(&app(&"x".repeat(201)), &[]);
        let platform = |text: &str| OperatorSubject {
            subject: Some(operator_subject::Subject::Platform(text.to_owned())),
        };
        check(&platform("示例视频"), &["platform:示例视频"]);
        // What nobody sees makes no other name, on neither side.
        check(&platform("示\u{200b}例\u{feff}视频\u{fe0f}"), &["platform:示例视频"]);
        check(&app("cn.example\u{ad}.loan\u{200d}"), &["app:cn.example.loan"]);
        check(&app("\u{200b}"), &[]);
        assert_eq!(Key::new(Kind::App, "快\u{200b}贷"), Key::new(Kind::App, "快贷"));
        let with_dot = platform("video.example.cn.");
        assert_eq!(candidates(&with_dot), candidates(&platform("Video。example.cn")));
        check(
            &with_dot,
            &[
                "platform:video.example.cn",
                "domain:video.example.cn",
                "domain:example.cn",
            ],
        );
        check(
            &platform("M.Video.Example.CN"),
            &[
                "platform:m.video.example.cn",
                "domain:m.video.example.cn",
                "domain:video.example.cn",
                "domain:example.cn",
            ],
        );
    }

    #[test]
    fn invalid_names_are_refused_with_a_reason() {
        use InvalidKey::{Character, Deep, Domain, Long, Missing, PublicSuffix};
        let text = |text: &str| text.to_owned();
        for (kind, key, expected) in [
            (Kind::Domain, "com.cn", PublicSuffix(text("com.cn"))),
            (Kind::Domain, "公司.cn", PublicSuffix(text("公司.cn"))),
            (Kind::Domain, "github.io", PublicSuffix(text("github.io"))),
            (
                Kind::Domain,
                "1.2.3.4.5.6.example.cn",
                Deep(text("1.2.3.4.5.6.example.cn"), text("example.cn")),
            ),
            (
                Kind::Domain,
                "1.2.3.4.5.6.someone.github.io",
                Deep(text("1.2.3.4.5.6.someone.github.io"), text("someone.github.io")),
            ),
            (Kind::Domain, "cn", Domain(text("cn"))),
            (Kind::Domain, "", Missing),
            (Kind::Domain, "https://example.cn", Domain(text("https://example.cn"))),
            (Kind::Domain, "example.cn:443", Domain(text("example.cn:443"))),
            (Kind::Domain, "example.cn/shop", Domain(text("example.cn/shop"))),
            (Kind::Domain, "*.example.cn", Domain(text("*.example.cn"))),
            (Kind::Domain, "192.0.2.7", Domain(text("192.0.2.7"))),
            (Kind::Domain, "exa mple.cn", Domain(text("exa mple.cn"))),
            (Kind::App, " ", Missing),
            (Kind::App, "\u{200b}\u{feff}", Missing),
            (Kind::App, "a/b", Character(text("a/b"))),
            (Kind::App, "a／b", Character(text("a／b"))),
            (Kind::Platform, "a\u{7}b", Character(text("a\u{7}b"))),
            (Kind::Platform, &"ﷺ".repeat(20), Long(360)),
        ] {
            assert_eq!(Key::new(kind, key), Err(expected), "{kind:?} {key}");
        }
        assert_eq!("site".parse::<Kind>(), Err(InvalidKey::Kind("site".to_owned())));
    }

    #[test]
    fn names_round_trip() {
        for (kind, text) in [
            (Kind::Domain, "例子.cn"),
            (Kind::Domain, "1.2.3.4.5.example.cn"),
            (Kind::App, "cn.example.loan"),
            (Kind::Platform, "a:b c"),
        ] {
            let key = Key::new(kind, text).unwrap();
            assert_eq!(Key::from_stored(&key.stored()), Some(key.clone()));
            assert_eq!(Key::from_resource_name(&key.resource_name()), Ok(key));
        }
        for name in [
            "operators/domain",
            "operators/site~x",
            "agencies/x",
            "operators/domain~com.cn",
        ] {
            assert!(Key::from_resource_name(name).is_err(), "{name}");
        }
    }
}
