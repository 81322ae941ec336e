//! How a call ends badly: a code, a sentence, whether trying again may help, and details.

use crate::{Json, Object};
use std::fmt;
use std::time::Duration;

pub type Result<T> = std::result::Result<T, Error>;

/// Codes are lower-case words of your own; the platform's (`denied`, `deadline`, …) pass through from host functions.
#[derive(Debug, Clone)]
pub struct Error {
    pub code: String,
    pub message: String,
    /// Failures that the retry policy tries again.
    pub retryable: bool,
    pub details: Object,
}

impl Error {
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Error {
        Error { code: code.into(), message: message.into(), retryable: false, details: Object::new() }
    }

    /// Tried again, not before `after`; zero leaves it to the policy.
    pub fn retry(mut self, after: Duration) -> Error {
        self.retryable = true;
        if after.is_zero() {
            return self;
        }
        self.detail("retry_after_ms", after.as_millis() as i64)
    }

    pub fn detail(mut self, name: &str, value: impl Into<Json>) -> Error {
        self.details.set(name, value);
        self
    }

    pub(crate) fn from_json(json: &Json) -> Error {
        let text = |name: &str, fallback: &str| json.get(name).as_str().unwrap_or(fallback).to_owned();
        let mut error = Error::new(text("code", "host_error"), text("message", "the host gave no reason"));
        error.retryable = json.get("retryable").as_bool().unwrap_or(false);
        if let Json::Object(details) = json.get("details") {
            error.details = details.clone();
        }
        error
    }

    pub(crate) fn to_json(&self) -> Json {
        let mut json = Object::new();
        json.set("code", self.code.as_str());
        json.set("message", self.message.as_str());
        json.set("retryable", self.retryable);
        if !self.details.is_empty() {
            json.set("details", self.details.clone());
        }
        json.into()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// Any other error has the code `failed`. (`Error` is no `std::error::Error` itself, so that this can be.)
impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Error {
        Error::new("failed", error.to_string())
    }
}
