//! `--call` and `--check`: a question about the Dockerfile instead of a build, and its answer.

use std::collections::BTreeMap;

use crate::command::Outcome;
use crate::csv;
use crate::failure::Failure;
use crate::flags::Matches;
use crate::number;
use crate::terminal::print;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// What the front end calls it: `lint`, `outline`, `targets`, `subrequests.describe`.
    name: String,
    /// For programs.
    json: bool,
    /// Findings are no failure.
    ignore_status: bool,
}

impl Call {
    /// Reads the flags; nothing if something is to be built.
    pub(super) fn read(matches: &Matches) -> Result<Option<Self>, Failure> {
        let text = matches.text("call");
        if matches.bool("check") {
            if !matches!(text, "" | "check" | "lint") {
                return Err(Failure::new("check and call cannot be used together"));
            }
            return Ok(Some(Self { name: "lint".to_owned(), json: false, ignore_status: false }));
        }
        Self::parse(text)
    }

    /// `METHOD[,format=json|text][,ignorestatus=BOOL]`.
    pub(crate) fn parse(text: &str) -> Result<Option<Self>, Failure> {
        let mut call = Self { name: String::new(), json: false, ignore_status: false };
        for field in csv::split(text).map_err(Failure::new)? {
            match field.split_once('=') {
                None => call.name = field,
                Some(("format", "json")) => call.json = true,
                Some(("format", "text")) => call.json = false,
                Some(("ignorestatus", value)) => {
                    call.ignore_status = number::parse_bool(value)
                        .map_err(|_| Failure::new(format!("invalid call option {field:?}")))?;
                }
                Some(_) => return Err(Failure::new(format!("invalid call option {field:?}"))),
            }
        }
        call.name = match call.name.as_str() {
            "" | "build" => return Ok(None),
            "check" | "lint" => "lint".to_owned(),
            "outline" | "targets" => call.name,
            "subrequests.describe" | "subrequests" => "subrequests.describe".to_owned(),
            other => {
                return Err(Failure::new(format!(
                    "invalid call method {other:?}: want build, check, outline or targets"
                )));
            }
        };
        Ok(Some(call))
    }

    /// The front end's name for it.
    pub(super) fn request(&self) -> String {
        format!("frontend.{}", self.name)
    }

    /// Whether programs read the answer.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints an answer; gives the exit status.
    pub(crate) fn show(&self, answers: &BTreeMap<String, String>) -> Outcome {
        let text = |name: &str| answers.get(name).map(String::as_str).unwrap_or_default();
        if text("result.json").is_empty() && text("result.txt").is_empty() {
            return Err(Failure::new(format!(
                "this daemon's front end has no answer to {:?}",
                self.request()
            )));
        }
        if self.json {
            print(format!("{}\n", text("result.json").trim_end()))?;
        } else if self.name == "lint" {
            print(self.findings(text("result.json"), text("result.txt")))?;
        } else {
            print(text("result.txt"))?;
        }
        match text("result.statuscode").parse() {
            Ok(code) if !self.ignore_status => Ok(code),
            _ => Ok(0),
        }
    }

    /// How many there are, and which.
    fn findings(&self, json: &str, text: &str) -> String {
        let document: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
        let count = document["warnings"].as_array().map_or(0, Vec::len);
        let failed = document.get("buildError").is_some();
        match count {
            0 if failed => text.to_owned(),
            0 => "Check complete, no warnings found.\n".to_owned(),
            1 => format!("Check complete, 1 warning has been found!\n{text}"),
            count => format!("Check complete, {count} warnings have been found!\n{text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_by_name() {
        let name = |text: &str| Call::parse(text).unwrap().map(|call| call.request());
        assert_eq!(name(""), None);
        assert_eq!(name("build"), None);
        assert_eq!(name("check").unwrap(), "frontend.lint");
        assert_eq!(name("targets").unwrap(), "frontend.targets");
        let call = Call::parse("lint,format=json,ignorestatus=true").unwrap().unwrap();
        assert!(call.json && call.ignore_status);
        for text in ["nonsense", "lint,format=xml", "lint,ignorestatus=maybe", "lint,x=y"] {
            assert!(Call::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn findings_are_counted() {
        let call = Call::parse("check").unwrap().unwrap();
        assert_eq!(call.findings("{\"warnings\":[]}", ""), "Check complete, no warnings found.\n");
        let one = call.findings("{\"warnings\":[{}]}", "\nW\n");
        assert_eq!(one, "Check complete, 1 warning has been found!\n\nW\n");
        let broken = call.findings("{\"warnings\":[],\"buildError\":{}}", "ERROR: x\n");
        assert_eq!(broken, "ERROR: x\n");
    }
}
