//! `fetch`: the rows of one window [begin, end) of a pipe. `register`: the defaults of a pipe.

use crate::{Call, Error, Json, Object, Output, Result, Time, host};

/// A batch of emitted rows goes out when it is this large: some thousands of rows, far below the host's limit.
const BATCH_BYTES: usize = 256 * 1024;

/// The pipe that a call is for.
#[derive(Debug, Clone)]
pub struct Pipe {
    pub name: String,
    pub connector: String,
    pub metric: String,
    /// "" when the pipe has none.
    pub location: String,
    pub parameters: Json,
}

impl Pipe {
    fn read(input: &Json) -> Pipe {
        let pipe = input.get("pipe");
        let text = |name: &str| pipe.get(name).as_str().unwrap_or("").to_owned();
        let parameters = pipe.get("parameters").clone();
        Pipe {
            name: text("name"),
            connector: text("connector"),
            metric: text("metric"),
            location: text("location"),
            parameters,
        }
    }
}

/// A window of a pipe whose axis is an integer column: wide enough for signed and unsigned ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntegerRange {
    /// Inclusive.
    pub begin: i128,
    /// Exclusive.
    pub end: i128,
}

impl IntegerRange {
    /// Whether an integer lies in the window.
    pub fn has(&self, position: impl Into<i128>) -> bool {
        (self.begin..self.end).contains(&position.into())
    }
}

#[derive(Debug, Clone)]
pub struct FetchCall {
    pub pipe: Pipe,
    pub config: Json,
    /// Inclusive. On an axis of integers this and `end` are 1970, and `range` is what is asked for.
    pub begin: Time,
    /// Exclusive.
    pub end: Time,
    /// On an axis of integers; `None` on an axis of time.
    pub range: Option<IntegerRange>,
    /// What the last checkpoint of this run saved, or the `next` of the call before; null at the start.
    pub cursor: Json,
    /// 1 on the first try. For information only.
    pub attempt: i64,
}

impl Call for FetchCall {
    fn read(input: Vec<u8>) -> Result<FetchCall> {
        FetchCall::of(&Json::parse(&input)?)
    }
}

impl FetchCall {
    pub(crate) fn of(json: &Json) -> Result<FetchCall> {
        let text = |name: &str| json.get(name).as_str().unwrap_or("");
        let range = match (text("begin").parse::<i128>(), text("end").parse::<i128>()) {
            (Ok(begin), Ok(end)) => Some(IntegerRange { begin, end }),
            _ => None,
        };
        let time = |name: &str| {
            let text = if range.is_some() { "1970-01-01" } else { text(name) };
            Time::parse(text).ok_or_else(|| Error::new("bad_input", format!("{name} is no time: {text:?}")))
        };
        Ok(FetchCall {
            pipe: Pipe::read(json),
            config: json.get("config").clone(),
            begin: time("begin")?,
            end: time("end")?,
            range,
            cursor: json.get("cursor").clone(),
            attempt: json.get("attempt").as_i64().unwrap_or(1),
        })
    }
    /// Whether a time lies in the window. Sources by whole days give more than was asked for: drop what is outside.
    pub fn has(&self, time: Time) -> bool {
        (self.begin..self.end).contains(&time)
    }
    /// The last UTC day that the window touches: for sources that want an inclusive end.
    pub fn last_day(&self) -> String {
        self.end.plus_us(-1).day()
    }
    /// Rows to return with the answer: right for some thousands.
    pub fn rows(&self) -> Rows {
        Rows::default()
    }
    /// Rows to send as they come: right for any number.
    pub fn emitter(&self) -> Emitter {
        Emitter::default()
    }
    /// The source has nothing for this window, and that is fine.
    pub fn no_data(&self) -> Result<Fetched> {
        Ok(Fetched::new("no_data", String::new()))
    }
    /// The source has not changed since the last run.
    pub fn not_modified(&self) -> Result<Fetched> {
        Ok(Fetched::new("not_modified", String::new()))
    }
}

/// What a fetch came to.
#[derive(Debug, Clone)]
pub struct Fetched {
    fields: Object,
    rows: String,
}

impl Fetched {
    fn new(status: &str, rows: String) -> Fetched {
        Fetched { fields: Object::new().with("status", status), rows }
    }
    /// There is more in this window: the host calls again with this cursor.
    pub fn next(mut self, cursor: impl Into<Json>) -> Fetched {
        self.fields.set("next", cursor);
        self
    }
    /// How far the source is known to be complete.
    pub fn watermark(mut self, time: Time) -> Fetched {
        self.fields.set("watermark", time);
        self
    }
    /// The same on an axis of integers: the one behind the last. All windows before it are asked for at once; without
    /// it, one after another until one is empty.
    pub fn watermark_integer(mut self, position: impl Into<i128>) -> Fetched {
        self.fields.set("watermark", position.into().to_string());
        self
    }
}

impl Output for Fetched {
    fn write(self) -> Result<Vec<u8>> {
        let mut out = Json::from(self.fields).to_string();
        if !self.rows.is_empty() {
            out.pop();
            out.push_str(",\"rows\":[");
            out.push_str(&self.rows);
            out.push_str("]}");
        }
        Ok(out.into_bytes())
    }
}

#[derive(Debug, Clone, Default)]
pub struct Rows {
    out: String,
}

impl Rows {
    /// An object: `Object::new().with("time", time).with("city", "Tromsø")`.
    pub fn add(&mut self, row: impl Into<Json>) {
        self.add_json(&row.into());
    }
    fn add_json(&mut self, row: &Json) {
        if !self.out.is_empty() {
            self.out.push(',');
        }
        row.write_to(&mut self.out);
    }
    /// A row of your own type.
    #[cfg(feature = "serde")]
    pub fn add_as(&mut self, row: &impl serde::Serialize) -> Result<()> {
        if !self.out.is_empty() {
            self.out.push(',');
        }
        self.out.push_str(&serde_json::to_string(row)?);
        Ok(())
    }
    pub fn ok(self) -> Result<Fetched> {
        Ok(Fetched::new("ok", self.out))
    }
    /// Some of what was asked for is there, and the rest failed.
    pub fn partial(self) -> Result<Fetched> {
        Ok(Fetched::new("partial", self.out))
    }
}

#[derive(Debug, Clone, Default)]
pub struct Emitter {
    out: String,
    /// Rows so far.
    pub count: u64,
}

impl Emitter {
    /// Errors are the host's refusal to take more: cancelled, over a limit.
    pub fn add(&mut self, row: impl Into<Json>) -> Result<()> {
        row.into().write_to(&mut self.out);
        self.end_row()
    }
    /// A row of your own type.
    #[cfg(feature = "serde")]
    pub fn add_as(&mut self, row: &impl serde::Serialize) -> Result<()> {
        self.out.push_str(&serde_json::to_string(row)?);
        self.end_row()
    }
    fn end_row(&mut self) -> Result<()> {
        self.out.push('\n');
        self.count += 1;
        if self.out.len() >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }
    /// Sends what waits; `ok` and `partial` do it too. At the end of a `sync`, call it.
    pub fn flush(&mut self) -> Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.out);
        host::call_bytes("emit", batch.as_bytes()).map(drop)
    }
    /// Sends what waits and saves where this run is, see `checkpoint`.
    pub fn checkpoint(&mut self, cursor: impl Into<Json>) -> Result<()> {
        self.flush()?;
        host::checkpoint(cursor)
    }
    pub fn ok(mut self) -> Result<Fetched> {
        self.flush()?;
        Ok(Fetched::new("ok", String::new()))
    }
    /// Some of what was asked for is there, and the rest failed.
    pub fn partial(mut self) -> Result<Fetched> {
        self.flush()?;
        Ok(Fetched::new("partial", String::new()))
    }
}

#[cfg(feature = "serde")]
impl Json {
    /// A value of your own type.
    pub fn to<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        Ok(serde_json::from_str(&self.to_string())?)
    }
}

#[derive(Debug, Clone)]
pub struct RegisterCall {
    pub pipe: Pipe,
    pub config: Json,
}

impl Call for RegisterCall {
    fn read(input: Vec<u8>) -> Result<RegisterCall> {
        let json = Json::parse(&input)?;
        Ok(RegisterCall { pipe: Pipe::read(&json), config: json.get("config").clone() })
    }
}

/// The defaults of a pipe.
#[derive(Debug, Clone, Default)]
pub struct Registered {
    columns: Object,
    index: Vec<Json>,
    other: Object,
}

impl Registered {
    pub fn new() -> Registered {
        Registered::default()
    }
    pub fn column(mut self, name: &str, kind: &str) -> Registered {
        self.columns.set(name, kind);
        self
    }
    pub fn index(mut self, column: &str) -> Registered {
        self.index.push(column.into());
        self
    }
    pub fn datetime(self, column: &str) -> Registered {
        self.set("datetime", column)
    }
    /// Any other default: `schedule`, `chunk`, `begin`, …
    pub fn set(mut self, name: &str, value: impl Into<Json>) -> Registered {
        self.other.set(name, value);
        self
    }
}

impl Output for Registered {
    fn write(self) -> Result<Vec<u8>> {
        let json = self.other.with("columns", self.columns).with("index", self.index);
        Ok(Json::from(json).to_string().into_bytes())
    }
}
