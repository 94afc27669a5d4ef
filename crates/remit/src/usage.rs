//! How a command line that cannot be read is told.
//!
//! clap's own messages repeat what was typed, or what a script took from elsewhere. Here each value
//! becomes one harmless line, and the sentence stands in the language of the output.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::{
    client::USAGE,
    output::{self, Paint as _, bad, one_line, tell, tr},
};

/// Tells why the command line cannot be read, for people or for machines; prints help and version
/// where they were asked for. Returns the exit code.
pub fn refused(error: &clap::Error, json: bool) -> u8 {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            output::help(error);
            return 0;
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            output::help(error);
            return USAGE;
        }
        _ => {}
    }
    let mut told = sentence(error);
    told.extend(values(error));
    if json {
        let message = told.join("\n");
        output::warn_json(&serde_json::json!({ "error": { "exitCode": USAGE, "message": message } }));
        return USAGE;
    }
    let mut lines = told.into_iter();
    output::warn(format_args!(
        "{} {}",
        "error:".style(bad()),
        lines.next().unwrap_or_default()
    ));
    lines.for_each(output::warn);
    let tips = tips(error);
    if !tips.is_empty() {
        output::warn("");
        for tip in tips {
            output::warn(tell("  tip: {0}", &[&tip]));
        }
    }
    if let Some(usage) = usage(error) {
        output::warn("");
        output::warn(tell("Usage: {0}", &[&usage]));
    }
    output::warn("");
    output::warn(tr("For more information, try '--help'."));
    USAGE
}

/// A value of the error as one line; several with commas.
fn get(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(one_line(text)),
        ContextValue::Strings(texts) if !texts.is_empty() => {
            let texts: Vec<_> = texts.iter().map(|text| one_line(text)).collect();
            Some(texts.join(", "))
        }
        ContextValue::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// What is wrong, in a sentence.
fn sentence(error: &clap::Error) -> Vec<String> {
    let of = |kind| get(error, kind).unwrap_or_default();
    let (argument, value) = (of(ContextKind::InvalidArg), of(ContextKind::InvalidValue));
    let has = |kind| error.get(kind).is_some();
    let words = match error.kind() {
        ErrorKind::UnknownArgument if has(ContextKind::InvalidArg) => {
            tell("unexpected argument '{0}' found", &[&argument])
        }
        ErrorKind::InvalidSubcommand if has(ContextKind::InvalidSubcommand) => {
            tell("unknown subcommand '{0}'", &[&of(ContextKind::InvalidSubcommand)])
        }
        ErrorKind::MissingSubcommand if has(ContextKind::InvalidSubcommand) => tell(
            "'{0}' requires a subcommand but one was not provided",
            &[&of(ContextKind::InvalidSubcommand)],
        ),
        ErrorKind::MissingRequiredArgument if has(ContextKind::InvalidArg) => {
            tell("these required arguments were not given: {0}", &[&argument])
        }
        ErrorKind::InvalidValue if has(ContextKind::InvalidArg) && value.is_empty() => {
            tell("a value is required for '{0}' but none was supplied", &[&argument])
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation if has(ContextKind::InvalidArg) => {
            let words = tell("invalid value '{0}' for '{1}'", &[&value, &argument]);
            match std::error::Error::source(error) {
                Some(why) => format!("{words}: {}", one_line(&why.to_string())),
                None => words,
            }
        }
        ErrorKind::TooManyValues if has(ContextKind::InvalidArg) => tell(
            "unexpected value '{0}' for '{1}' found; no more were expected",
            &[&value, &argument],
        ),
        ErrorKind::NoEquals if has(ContextKind::InvalidArg) => {
            tell("equal sign is needed when assigning values to '{0}'", &[&argument])
        }
        ErrorKind::ArgumentConflict if has(ContextKind::InvalidArg) => match of(ContextKind::PriorArg) {
            prior if prior == argument => tell("the argument '{0}' cannot be used multiple times", &[&argument]),
            prior if prior.is_empty() => tell("the argument '{0}' cannot be used with others", &[&argument]),
            prior => tell("the argument '{0}' cannot be used with '{1}'", &[&argument, &prior]),
        },
        // What else there is, clap says in its own words: without usage and advice, which stand
        // below.
        _ => {
            let whole = error.render().to_string();
            let words = whole.split("\n\nUsage:").next().unwrap_or_default();
            let words = words.split("\n\nFor more information").next().unwrap_or_default();
            one_line(words.trim().trim_start_matches("error:").trim())
        }
    };
    vec![words]
}

/// The values that would do.
fn values(error: &clap::Error) -> Option<String> {
    if let Some(values) = get(error, ContextKind::ValidValue) {
        return Some(tell("  [possible values: {0}]", &[&values]));
    }
    let values = get(error, ContextKind::ValidSubcommand)?;
    Some(tell("  [subcommands: {0}]", &[&values]))
}

/// What may have been meant.
fn tips(error: &clap::Error) -> Vec<String> {
    let mut tips = Vec::new();
    for (kind, words) in [
        (
            ContextKind::SuggestedSubcommand,
            tr("a similar subcommand exists: '{0}'"),
        ),
        (ContextKind::SuggestedArg, tr("a similar argument exists: '{0}'")),
        (ContextKind::SuggestedValue, tr("a similar value exists: '{0}'")),
    ] {
        if let Some(meant) = get(error, kind) {
            tips.push(words.replace("{0}", &meant));
        }
    }
    if let Some(ContextValue::StyledStrs(more)) = error.get(ContextKind::Suggested) {
        tips.extend(more.iter().map(|tip| one_line(&tip.to_string())));
    }
    tips
}

/// How the command is used.
fn usage(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) else {
        return None;
    };
    let usage = usage.to_string();
    Some(usage.trim_start_matches("Usage:").trim().to_owned())
}
