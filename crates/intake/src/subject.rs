//! Subjects and details in canonical form: what people type, made one, or refused with the reason.
//!
//! What the operator register looks up is made by `names::subject`, as the register's own keys are.
//! No I/O.

use std::net::IpAddr;

use api::{
    intake::{Subject, SubjectKind},
    routing::{OperatorSubject, operator_subject},
    text::{Form, control},
};
use names::{subject, text::visible};

/// Maximum number of characters in the name of an app that is looked up: a longer one is a
/// description, which may say anything.
const LOOKED_UP: usize = 200;

/// Drops what nobody sees from a subject, and gives values that have several spellings one. Values
/// that are not of their kind stay as they are: [`fault`] refuses them.
pub(crate) fn canonicalise(subject: &mut Subject) {
    subject.platform = visible(&subject.platform).trim().to_owned();
    subject.value = match subject.kind() {
        // Characters that nobody sees are part of a path: they are refused, not dropped.
        SubjectKind::Url => subject.value.trim().to_owned(),
        SubjectKind::IpAddress => {
            let value = visible(&subject.value).trim().to_owned();
            ip_address(&value).map_or(value, |address| address.to_string())
        }
        _ => visible(&subject.value).trim().to_owned(),
    };
}

/// What is wrong with a value of a kind, if anything.
pub(crate) fn fault(kind: SubjectKind, value: &str) -> Option<&'static str> {
    match kind {
        SubjectKind::Url => url_fault(value),
        SubjectKind::Domain => subject::host(value).is_none().then_some(
            "must be one domain name without scheme, port and path, such as `shop.example`; its labels have letters, \
             digits and hyphens",
        ),
        SubjectKind::Phone => phone_fault(value),
        SubjectKind::ServiceNumber => (!is_digits(value, 3..=12) || value.starts_with('0'))
            .then_some("must be 3 to 12 digits, the first not 0, such as `95588`; other numbers are of the kind phone"),
        SubjectKind::SmsSender => (!is_digits(value, 3..=20) && !is_sender_name(value))
            .then_some("must be 3 to 20 digits, such as `10690000000000`, or a name of up to 11 letters and digits"),
        SubjectKind::IpAddress => ip_address(value)
            .is_none()
            .then_some("must be an IPv4 or IPv6 address alone, such as `203.0.113.7`; its port has a field of its own"),
        SubjectKind::BankAccount => account_fault(value),
        SubjectKind::Wallet => (!is_wallet(value))
            .then_some("must be 20 to 128 letters and digits, with `-`, `_` and `:` only between them"),
        SubjectKind::Account | SubjectKind::App | SubjectKind::Organisation | SubjectKind::Unspecified => None,
    }
}

/// What is wrong with the characters of a text of one line, if anything.
pub(crate) fn control_fault(text: &str) -> Option<&'static str> {
    control(text, Form::Line).map(|_| "has a line break or a control character; leave it out")
}

/// What is wrong with a web address, if anything. A browser would drop line breaks and follow what
/// is left.
pub(crate) fn url_fault(value: &str) -> Option<&'static str> {
    let is_hidden = |c: char| c.is_whitespace() || c.is_control() || names::text::is_invisible(c);
    if value.contains(is_hidden) || value.contains('\\') {
        return Some("has a space, a line break, a backslash or an invisible character; write these percent-encoded");
    }
    let has_host = |url: &url::Url| match url.host() {
        Some(url::Host::Domain(host)) => subject::host(host).is_some(),
        Some(url::Host::Ipv4(_) | url::Host::Ipv6(_)) => true,
        None => false,
    };
    let fits = url::Url::parse(value).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && has_host(&url));
    (!fits).then_some(
        "must be an absolute http or https address whose host is one domain name or IP address, such as \
         `https://shop.example/item`",
    )
}

/// What is wrong with a telephone number, if anything. ITU-T E.164: a plus sign and at most 15
/// digits, the first not 0.
pub(crate) fn phone_fault(value: &str) -> Option<&'static str> {
    let digits = value.strip_prefix('+').unwrap_or_default();
    (!is_digits(digits, 7..=15) || digits.starts_with('0'))
        .then_some("must be a telephone number in E.164 form, such as `+8613800000000`")
}

/// What is wrong with the number of a bank or payment account, if anything.
pub(crate) fn account_fault(value: &str) -> Option<&'static str> {
    let compact = value.bytes().filter(|c| *c != b' ').count();
    let fits = (8..=34).contains(&compact) && value.bytes().all(|c| c.is_ascii_alphanumeric() || c == b' ');
    (!fits).then_some("must be 8 to 34 letters and digits")
}

fn is_digits(text: &str, length: std::ops::RangeInclusive<usize>) -> bool {
    length.contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit())
}

/// An alphanumeric sender of 3GPP TS 23.040, as far as networks let them pass.
fn is_sender_name(text: &str) -> bool {
    (1..=11).contains(&text.len())
        && text
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b' ' | b'-' | b'_' | b'.' | b'&'))
        && text.bytes().any(|c| c.is_ascii_alphabetic())
}

fn ip_address(text: &str) -> Option<IpAddr> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    inner.unwrap_or(text).parse().ok()
}

/// Addresses in base 58, 32 or 64 for URLs, with a prefix such as `bitcoincash:` or a workchain
/// such as `-1:`.
fn is_wallet(text: &str) -> bool {
    let inner = text.strip_prefix('-').unwrap_or(text);
    (20..=128).contains(&text.len())
        && inner.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        && text
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b':'))
}

/// What the operator register is asked for: hosts, apps and platforms, and nothing that identifies
/// a person. No URL path, account or number leaves intake.
pub(crate) fn looked_up(subject: &Subject) -> Option<OperatorSubject> {
    let subject = match subject.kind() {
        SubjectKind::Url => {
            let url = url::Url::parse(&subject.value).ok()?;
            operator_subject::Subject::Host(subject::host(url.domain()?)?)
        }
        SubjectKind::Domain => operator_subject::Subject::Host(subject::host(&subject.value)?),
        SubjectKind::App if subject.value.chars().count() <= LOOKED_UP => {
            operator_subject::Subject::App(subject.value.clone())
        }
        SubjectKind::Account if !subject.platform.is_empty() => {
            operator_subject::Subject::Platform(subject.platform.clone())
        }
        SubjectKind::App
        | SubjectKind::Account
        | SubjectKind::Phone
        | SubjectKind::ServiceNumber
        | SubjectKind::SmsSender
        | SubjectKind::IpAddress
        | SubjectKind::BankAccount
        | SubjectKind::Wallet
        | SubjectKind::Organisation
        | SubjectKind::Unspecified => return None,
    };
    Some(OperatorSubject { subject: Some(subject) })
}

/// Digits of an account number from which on it is taken for one of the whole world, without its bank.
const WORLDWIDE: usize = 15;

/// What wallets begin with that are written in either letter case.
const WITHOUT_CASE: &[&str] = &["0x", "bc1", "ltc1"];

/// What a subject is compared by: equal for spellings of one subject, and different for different
/// ones. `None` for one that can be compared with no other.
pub(crate) fn key(subject: &Subject) -> Option<String> {
    let value = subject.value.as_str();
    let key = match subject.kind() {
        SubjectKind::Url => {
            let url = url::Url::parse(value).ok()?;
            let host = match url.host()? {
                url::Host::Domain(host) => subject::host(host)?,
                address => address.to_string(),
            };
            // Neither the scheme nor a user before the host leads elsewhere. A fragment does where the
            // page goes by it.
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
            let leads = |fragment: &&str| fragment.starts_with(['/', '!']) || fragment.contains('=');
            let fragment = url.fragment().filter(leads).map(|fragment| format!("#{fragment}"));
            format!("{host}{port}{}{query}{}", url.path(), fragment.unwrap_or_default())
        }
        SubjectKind::Domain => subject::host(value)?,
        SubjectKind::App if value.chars().count() <= LOOKED_UP => subject::name(value),
        // Some platforms tell accounts apart by letter case. Without a platform, it may be anybody's.
        SubjectKind::Account => {
            let platform = subject::platform(&subject.platform);
            if platform.is_empty() {
                return None;
            }
            format!("{platform}\n{value}")
        }
        // Two banks may have one number.
        SubjectKind::BankAccount => {
            let (bank, number) = (
                subject::name(&subject.platform),
                value.replace(' ', "").to_ascii_uppercase(),
            );
            if bank.is_empty() && number.len() < WORLDWIDE {
                return None;
            }
            format!("{bank}\n{number}")
        }
        // Many share an address.
        SubjectKind::IpAddress if subject.port == 0 => return None,
        SubjectKind::IpAddress => format!("{value}\n{}", subject.port),
        SubjectKind::Phone => value.to_owned(),
        // Letter case tells nothing in these.
        SubjectKind::Wallet
            if WITHOUT_CASE
                .iter()
                .any(|start| value.to_ascii_lowercase().starts_with(start)) =>
        {
            value.to_ascii_lowercase()
        }
        SubjectKind::Wallet => value.to_owned(),
        // Many unlike acts bear the name of one organisation, or a number that all its callers show.
        SubjectKind::App
        | SubjectKind::Organisation
        | SubjectKind::ServiceNumber
        | SubjectKind::SmsSender
        | SubjectKind::Unspecified => return None,
    };
    (!key.is_empty()).then(|| format!("{}\n{key}", subject.kind().as_str_name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: SubjectKind, value: &str, platform: &str) -> Subject {
        let mut subject = Subject {
            kind: kind.into(),
            value: value.to_owned(),
            platform: platform.to_owned(),
            ..Subject::default()
        };
        canonicalise(&mut subject);
        subject
    }

    /// Each kind with values that it takes, in the form in which they are kept, and neighbours that
    /// it refuses.
    #[test]
    fn a_value_is_of_its_kind_or_refused() {
        use SubjectKind::{Domain, IpAddress, Phone, ServiceNumber, SmsSender, Url, Wallet};
        for (kind, value, kept) in [
            (
                Url,
                " https://shop.example/item?x=1#y\n",
                "https://shop.example/item?x=1#y",
            ),
            (Url, "http://203.0.113.7:8080/", "http://203.0.113.7:8080/"),
            (Url, "http://[2001:db8::1]/", "http://[2001:db8::1]/"),
            (
                Url,
                "https://www.bank.example@shop.example/",
                "https://www.bank.example@shop.example/",
            ),
            (Domain, "例子。中国", "例子。中国"),
            (Domain, "\u{feff}shop.example.\u{200b}", "shop.example."),
            (Phone, "+8613800000000\u{200b}", "+8613800000000"),
            (ServiceNumber, "95588", "95588"),
            (ServiceNumber, "96110", "96110"),
            (ServiceNumber, " 12321 ", "12321"),
            (ServiceNumber, "110", "110"),
            (ServiceNumber, "4008123123", "4008123123"),
            (SmsSender, "10690000000000123456", "10690000000000123456"),
            (SmsSender, "95588", "95588"),
            (SmsSender, "My Bank", "My Bank"),
            (IpAddress, "203.0.113.7", "203.0.113.7"),
            (IpAddress, "2001:DB8:0:0::1", "2001:db8::1"),
            (IpAddress, "[2001:db8::1]", "2001:db8::1"),
            (Wallet, "bc1qexampleexampleexample", "bc1qexampleexampleexample"),
            (
                Wallet,
                "bitcoincash:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a",
                "bitcoincash:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a",
            ),
            (
                Wallet,
                "EQDtFpEwcFAEcRe5mLVh2N6C0x-_hJEM7W61_JLnSF74p4q2",
                "EQDtFpEwcFAEcRe5mLVh2N6C0x-_hJEM7W61_JLnSF74p4q2",
            ),
            (
                Wallet,
                "-1:ed169130705004711ed169130705004711",
                "-1:ed169130705004711ed169130705004711",
            ),
        ] {
            let subject = of(kind, value, "");
            assert_eq!(
                (subject.value.as_str(), fault(kind, &subject.value)),
                (kept, None),
                "{kind:?}"
            );
        }
        for (kind, values) in [
            (
                Url,
                &[
                    "https://shop.\nexample/",
                    "https://shop.example/a\tb",
                    "https://shop[.]example/",
                    "https://shop\u{200b}.example/",
                    "https://shop.example\\@bank.example/",
                    "https://a,b/",
                    "https://a,b.example/",
                    "https://shop/",
                    "https://*.shop.example/",
                    "https://..",
                    "hxxps://shop.example/",
                    "shop.example",
                ][..],
            ),
            (
                Domain,
                &[
                    ".x",
                    "a,b",
                    "\"x\"",
                    "..",
                    "shop",
                    "203.0.113.7",
                    "a b.example",
                    "a[.]example",
                    "a.example:1",
                ],
            ),
            (
                Phone,
                &[
                    "13800000000",
                    "95588",
                    "+0138000000",
                    "+86 13800000000",
                    "+１３８００００００００",
                ],
            ),
            (
                ServiceNumber,
                &["95", "0108888888", "1234567890123", "+95588", "95-588", "９５５８８"],
            ),
            (
                SmsSender,
                &["10", "106900000000001234567", "A name too long", "_", "银行"],
            ),
            (
                IpAddress,
                &[
                    "203.0.113",
                    "203.0.113.256",
                    "203.0.113.7:80",
                    "203.0.113.0/24",
                    "fe80::1%eth0",
                    "[203.0.113.7",
                ],
            ),
            (
                Wallet,
                &[
                    "short",
                    ":bitcoincashqpm2qsznhks23z",
                    "bitcoincash:qpm2qsznhks23 7",
                    "a.b.c.d.e.f.g.h.i.j.k",
                ],
            ),
        ] {
            for value in values {
                assert!(fault(kind, &of(kind, value, "").value).is_some(), "{kind:?} {value:?}");
            }
        }
    }

    #[test]
    fn only_hosts_apps_and_platforms_are_looked_up_in_the_register() {
        use operator_subject::Subject::{App, Host, Platform};
        let text = str::to_owned;
        for (kind, value, platform, expected) in [
            (
                SubjectKind::Url,
                "https://wang.wei:word@Shop.example.cn:8443/users/wang.wei?phone=13800000000#x",
                "",
                Some(Host(text("shop.example.cn"))),
            ),
            (
                SubjectKind::Url,
                "https://例子。cn./",
                "",
                Some(Host(text("xn--fsqu00a.cn"))),
            ),
            (SubjectKind::Url, "https://203.0.113.7/", "", None),
            (SubjectKind::Domain, "例子.cn", "", Some(Host(text("xn--fsqu00a.cn")))),
            (
                SubjectKind::Domain,
                "\u{200b}Shop.example.cn.",
                "",
                Some(Host(text("shop.example.cn"))),
            ),
            (
                SubjectKind::App,
                " cn.example\u{ad}.loan ",
                "",
                Some(App(text("cn.example.loan"))),
            ),
            (SubjectKind::App, &"it said that ".repeat(20), "", None),
            (
                SubjectKind::Account,
                "wang.wei",
                "示例\u{feff}视频",
                Some(Platform(text("示例视频"))),
            ),
            (SubjectKind::Account, "wang.wei@mail.example.cn", " \u{200b}", None),
            (SubjectKind::Phone, "+8613800000000", "example.cn", None),
            (SubjectKind::ServiceNumber, "95588", "example.cn", None),
            (SubjectKind::SmsSender, "10690000000000", "example.cn", None),
            (SubjectKind::IpAddress, "203.0.113.7", "example.cn", None),
            (SubjectKind::BankAccount, "6222 0000 0000 0000", "示例银行", None),
            (SubjectKind::Wallet, "bc1qexampleexampleexample", "example.cn", None),
            (SubjectKind::Organisation, "example.cn", "", None),
        ] {
            let found = looked_up(&of(kind, value, platform)).and_then(|found| found.subject);
            assert_eq!(found, expected, "{kind:?} {value}");
        }
    }

    #[test]
    fn spellings_of_one_subject_have_one_key_and_others_have_others() {
        use SubjectKind::{
            Account, App, BankAccount, Domain, IpAddress, Organisation, Phone, ServiceNumber, SmsSender, Url, Wallet,
        };
        let key_of = |kind, value: &str, platform: &str| key(&of(kind, value, platform));
        for (kind, one, other, are_one) in [
            (
                Url,
                "https://shop.example/a?x=1#y",
                "http://SHOP.example.:80/a?x=1",
                true,
            ),
            (Url, "https://shop.example", "https://bank.example@shop.example/", true),
            (Url, "https://shop.example/a", "https://shop.example/A", false),
            (Url, "https://shop.example/a", "https://shop.example/a?x=1", false),
            (Url, "https://shop.example/", "https://shop.example:8443/", false),
            (Url, "http://203.0.113.7/a", "https://203.0.113.7/a", true),
            (Domain, "例子。中国", "xn--fsqu00a.xn--fiqs8s", true),
            (App, "CN.Example.Ｌｏａｎ", "cn.example.loan", true),
            (
                Url,
                "https://app.example/#/item/1",
                "https://app.example/#/item/2",
                false,
            ),
            (Url, "https://app.example/#top", "https://app.example/", true),
            (BankAccount, "6222 0000 0000 0000", "6222000000000000", true),
            (Phone, "+8613800000000", "+8613800000001", false),
            (Wallet, "bc1qexampleexampleexample", "bc1qexampleexampleexamplf", false),
            (
                Wallet,
                "0xAbCdEf0000000000000000000000000000000000",
                "0xabcdef0000000000000000000000000000000000",
                true,
            ),
            (Wallet, "BC1QEXAMPLE", "bc1qexample", true),
            (Wallet, "TExampleExample", "texampleexample", false),
        ] {
            let (one_key, other_key) = (key_of(kind, one, ""), key_of(kind, other, ""));
            assert!(one_key.is_some() && other_key.is_some(), "{one} {other}");
            assert_eq!(one_key == other_key, are_one, "{one} {other}");
        }
        // A value of one kind is not that of another, nor is one platform's account another's.
        assert_ne!(
            key_of(Domain, "shop.example", ""),
            key_of(Url, "https://shop.example/", "")
        );
        assert_ne!(
            key_of(Account, "wang", "a.example"),
            key_of(Account, "wang", "b.example")
        );
        assert_eq!(
            key_of(Account, "wang", "A.example."),
            key_of(Account, "wang", "a。example")
        );
        for (kind, value) in [
            (Account, "wang"),
            (IpAddress, "203.0.113.7"),
            // Many unlike acts go by these.
            (Organisation, "示例公司"),
            (ServiceNumber, "95588"),
            (SmsSender, "10690000"),
            (BankAccount, "12345678"),
            (App, &*"it said that ".repeat(20)),
        ] {
            assert_eq!(key_of(kind, value, ""), None, "{value}");
        }
        let banks = ["示例银行", "另一银行"].map(|bank| key_of(BankAccount, "12345678", bank));
        assert!(banks[0].is_some() && banks[0] != banks[1]);
        let at_port = |port| {
            key(&Subject {
                port,
                ..of(IpAddress, "203.0.113.7", "")
            })
        };
        assert!(at_port(443).is_some() && at_port(443) != at_port(80));
    }
}
