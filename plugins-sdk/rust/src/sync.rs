//! `sync`: a window whose rows the plugin writes itself. `before_sync` and `after_sync`: hooks around each window.

use crate::{Call, Emitter, FetchCall, IntegerRange, Json, Object, Output, Pipe, Result, Time};

/// Rows go by an `emitter`, `emit_csv` or `emit_arrow`; how far it is, by `checkpoint`.
#[derive(Debug, Clone)]
pub struct SyncCall {
    pub pipe: Pipe,
    pub config: Json,
    /// Inclusive.
    pub begin: Time,
    /// Exclusive.
    pub end: Time,
    /// On an axis of integers; `None` on an axis of time.
    pub range: Option<IntegerRange>,
    /// What the last checkpoint of this run saved; null at the start.
    pub cursor: Json,
    /// 1 on the first try. For information only.
    pub attempt: i64,
}

impl Call for SyncCall {
    fn read(input: Vec<u8>) -> Result<SyncCall> {
        let FetchCall { pipe, config, begin, end, range, cursor, attempt } = FetchCall::read(input)?;
        Ok(SyncCall { pipe, config, begin, end, range, cursor, attempt })
    }
}

impl SyncCall {
    /// Whether a time lies in the window. Sources by whole days give more than was asked for: drop what is outside.
    pub fn has(&self, time: Time) -> bool {
        (self.begin..self.end).contains(&time)
    }
    /// Rows to send as they come: right for any number. Flush it before the end.
    pub fn emitter(&self) -> Emitter {
        Emitter::default()
    }
}

/// What a sync came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synced {
    Ok,
    /// The source has nothing for this window, and that is fine.
    NoData,
    /// The source has not changed since the last run.
    NotModified,
    /// Some of what was asked for is there, and the rest failed.
    Partial,
}

impl Output for Synced {
    fn write(self) -> Result<Vec<u8>> {
        let status = match self {
            Synced::Ok => "ok",
            Synced::NoData => "no_data",
            Synced::NotModified => "not_modified",
            Synced::Partial => "partial",
        };
        Ok(Json::from(Object::new().with("status", status)).to_string().into_bytes())
    }
}

/// A window that is about to be run.
#[derive(Debug, Clone)]
pub struct BeforeSyncCall {
    pub pipe: Pipe,
    pub config: Json,
    /// Inclusive.
    pub begin: Time,
    /// Exclusive.
    pub end: Time,
    /// On an axis of integers; `None` on an axis of time.
    pub range: Option<IntegerRange>,
    pub attempt: i64,
}

impl Call for BeforeSyncCall {
    fn read(input: Vec<u8>) -> Result<BeforeSyncCall> {
        let FetchCall { pipe, config, begin, end, range, attempt, .. } = FetchCall::read(input)?;
        Ok(BeforeSyncCall { pipe, config, begin, end, range, attempt })
    }
}

/// What a hook before a window says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The window goes ahead.
    Proceed,
    /// The window stays as it is, and people read why.
    Veto(String),
}

impl Output for Verdict {
    fn write(self) -> Result<Vec<u8>> {
        let answer = match self {
            Verdict::Proceed => Object::new(),
            Verdict::Veto(reason) => Object::new().with("veto", reason),
        };
        Ok(Json::from(answer).to_string().into_bytes())
    }
}

/// A window that is done, or has failed for good. What a hook then does changes nothing about it.
#[derive(Debug, Clone)]
pub struct AfterSyncCall {
    pub pipe: Pipe,
    pub config: Json,
    /// Inclusive.
    pub begin: Time,
    /// Exclusive.
    pub end: Time,
    /// On an axis of integers; `None` on an axis of time.
    pub range: Option<IntegerRange>,
    pub attempt: i64,
    /// `ok`, `no_data`, `not_modified`, `partial`, or how the last attempt failed.
    pub outcome: String,
    /// Rows of the window that are seen now.
    pub rows: i64,
    /// Why it failed, or "".
    pub message: String,
    /// Id of the run.
    pub run: String,
}

impl Call for AfterSyncCall {
    fn read(input: Vec<u8>) -> Result<AfterSyncCall> {
        let json = Json::parse(&input)?;
        let FetchCall { pipe, config, begin, end, range, attempt, .. } = FetchCall::of(&json)?;
        let text = |name: &str| json.get(name).as_str().unwrap_or("").to_owned();
        let (outcome, message, run) = (text("outcome"), text("message"), text("run"));
        let rows = json.get("rows").as_i64().unwrap_or(0);
        Ok(AfterSyncCall { pipe, config, begin, end, range, attempt, outcome, rows, message, run })
    }
}

/// What an export answers that has nothing to say: `after_sync`.
impl Output for () {
    fn write(self) -> Result<Vec<u8>> {
        Ok(b"{}".to_vec())
    }
}
