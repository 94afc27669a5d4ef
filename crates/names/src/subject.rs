//! Canonical forms of what is reported and looked up: hosts, and names of apps and platforms.
//!
//! Intake checks subjects by these functions and the operator register makes its keys with them, so
//! that what one accepts the other finds.

use icu_normalizer::ComposingNormalizerBorrowed;

use crate::text::visible;

/// A host name in lower-case ASCII without a trailing dot; `None` if the text is not one. IP
/// addresses and single labels are not host names.
#[must_use]
pub fn host(text: &str) -> Option<String> {
    let text = visible(text);
    // `url` would decode percent signs.
    let Ok(url::Host::Domain(host)) = url::Host::parse(&text) else {
        return None;
    };
    let host = host.strip_suffix('.').map(str::to_owned).unwrap_or(host);
    if !host.contains('.') || text.contains('%') {
        return None;
    }
    // Stricter than URLs: `*` and the like occur in no registrable name.
    let letter = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(letter);
    (host.len() <= 253 && host.split('.').all(label)).then_some(host)
}

/// The name of an app or a platform: compatibility forms (such as full-width letters) unified, no
/// invisible characters, lower case, single spaces.
#[must_use]
pub fn name(text: &str) -> String {
    let normal = ComposingNormalizerBorrowed::new_nfkc().normalize(text);
    let lower = visible(&normal).to_lowercase();
    lower.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Like [`name`], for platforms, which people call by their name or their host.
#[must_use]
pub fn platform(text: &str) -> String {
    host(text.trim()).unwrap_or_else(|| name(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_host_are_one_and_what_is_no_host_is_none() {
        for text in [
            "例子.中国",
            "例子。中国",
            "例子．中国",
            "例子.中国.",
            "例\u{200b}子.\u{feff}中国",
            "例\u{ad}子.中国\u{fe0f}",
            "xn--fsqu00a.xn--fiqs8s",
            "XN--FSQU00A.XN--FIQS8S",
        ] {
            assert_eq!(host(text).as_deref(), Some("xn--fsqu00a.xn--fiqs8s"), "{text:?}");
        }
        for text in [
            "",
            ".",
            "..",
            ".x",
            "x.",
            "a..b",
            "a,b",
            "a,b.cn",
            "\"x\"",
            "\"x\".cn",
            "a b.cn",
            "a\n.cn",
            "a[.]cn",
            "a.cn/",
            "a.cn:80",
            "a@b.cn",
            "a%2ecn",
            "*.a.cn",
            "192.0.2.7",
            "0x7f.1",
            "[2001:db8::1]",
            "localhost",
            "\u{200b}",
        ] {
            assert_eq!(host(text), None, "{text:?}");
        }
    }

    #[test]
    fn names_that_look_alike_are_one() {
        for (text, expected) in [
            (" CN.Example.Ｌｏａｎ ", "cn.example.loan"),
            ("快贷\u{3000}  极速版", "快贷 极速版"),
            ("快\u{200b}贷\u{feff}", "快贷"),
            ("a\u{ad}b\u{fe0f}\u{200d}", "ab"),
            ("\u{3164}\u{200b}", ""),
        ] {
            assert_eq!(name(text), expected, "{text:?}");
        }
        for text in [
            "M.Video.Example.CN",
            "m.video.example.cn.",
            "m。video\u{200b}.example.cn",
        ] {
            assert_eq!(platform(text), "m.video.example.cn", "{text:?}");
        }
        assert_eq!(platform("示例\u{200b}视频 "), "示例视频");
        assert_eq!(platform("Weibo."), "weibo.", "no host");
    }
}
