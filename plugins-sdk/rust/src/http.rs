//! HTTP through the host, which allows only what the manifest asks for and the operator grants.

use crate::{Error, Json, Object, Result, call};
use std::time::Duration;

/// `Request::get(url).header("accept", "text/csv").send()?`
#[derive(Debug, Clone)]
pub struct Request {
    method: String,
    url: String,
    headers: Object,
    body: Vec<u8>,
    timeout: Duration,
    more: Object,
}

impl Request {
    pub fn new(method: &str, url: &str) -> Request {
        let (method, url) = (method.to_owned(), url.to_owned());
        let (headers, more) = (Object::new(), Object::new());
        Request { method, url, headers, body: Vec::new(), timeout: Duration::ZERO, more }
    }
    pub fn get(url: &str) -> Request {
        Request::new("GET", url)
    }
    pub fn post(url: &str, body: impl Into<Vec<u8>>) -> Request {
        Request { body: body.into(), ..Request::new("POST", url) }
    }
    pub fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.set(name, value);
        self
    }
    /// Without one: the host's default. The run's own deadline holds in any case.
    pub fn timeout(mut self, timeout: Duration) -> Request {
        self.timeout = timeout;
        self
    }

    /// The host tries again, with a growing pause: when the other side is not there, for 429 and 5xx. At most 5, and only
    /// for methods that may be repeated.
    pub fn attempts(mut self, attempts: u32) -> Request {
        self.more.set("retry", Object::new().with("attempts", attempts));
        self
    }
    /// Asks again with what the server said of its answer, by ETag or date. Only for GET.
    pub fn cache(mut self) -> Request {
        self.more.set("cache", true);
        self
    }
    /// Through the operator's proxy.
    pub fn proxy(mut self) -> Request {
        self.more.set("proxy", true);
        self
    }

    /// An answer of any status. Errors are the host's: `denied`, `unavailable`, `deadline`, …
    pub fn send(self) -> Result<Response> {
        let mut ask = Object::new().with("url", self.url).with("method", self.method).with("headers", self.headers);
        self.more.iter().for_each(|(name, value)| drop(ask.set(name, value)));
        match String::from_utf8(self.body) {
            Ok(text) if text.is_empty() => {}
            Ok(text) => drop(ask.set("body", text)),
            Err(bytes) => drop(ask.set("body_base64", encode_base64(bytes.as_bytes()))),
        }
        if !self.timeout.is_zero() {
            ask.set("timeout_ms", self.timeout.as_millis() as i64);
        }
        let answer = call("http", ask)?;
        Ok(Response { status: answer.get("status").as_i64().unwrap_or(0) as u16, body: body_of(&answer), answer })
    }
}

/// GET with the host's default time-out.
pub fn get(url: &str) -> Result<Response> {
    Request::get(url).send()
}

#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub body: Vec<u8>,
    answer: Json,
}

impl Response {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
    /// A header by its lower-case name, or "".
    pub fn header(&self, name: &str) -> &str {
        self.answer.get("headers").get(name).as_str().unwrap_or("")
    }
    /// The body as text; what is not UTF-8 becomes U+FFFD.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    /// The body as JSON, of any status: look at it by `success` first.
    pub fn json(&self) -> Result<Json> {
        Json::parse(&self.body)
    }
    /// Where the answer came from, after redirects.
    pub fn url(&self) -> &str {
        self.answer.get("url").as_str().unwrap_or("")
    }
    pub fn elapsed_ms(&self) -> f64 {
        self.answer.get("elapsed_ms").as_f64().unwrap_or(0.0)
    }
    /// When the server's certificate runs out (RFC 3339), or "" without TLS.
    pub fn tls_valid_until(&self) -> &str {
        self.answer.get("tls").get("valid_until").as_str().unwrap_or("")
    }
    /// Itself for 200 to 299; else an error, tried again after Retry-After where that may help.
    pub fn success(self) -> Result<Response> {
        if self.is_success() {
            return Ok(self);
        }
        let error = Error::new(format!("http_{}", self.status), format!("{} answered {}", self.url(), self.status));
        if !matches!(self.status, 408 | 429 | 500..) {
            return Err(error);
        }
        let seconds = self.header("retry-after").parse().unwrap_or(0);
        Err(error.retry(Duration::from_secs(seconds)))
    }
}

/// The body of a message that has `body` or `body_base64`.
pub(crate) fn body_of(message: &Json) -> Vec<u8> {
    match message.get("body_base64").as_str() {
        Some(encoded) => decode_base64(encoded),
        None => message.get("body").as_str().unwrap_or("").as_bytes().to_vec(),
    }
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for part in bytes.chunks(3) {
        let byte = |i: usize| u32::from(part.get(i).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * i) & 63) as usize] as char;
            text.push(if i <= part.len() { digit } else { '=' });
        }
    }
    text
}

/// Characters that are none of base64's are passed over.
pub(crate) fn decode_base64(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut word, mut bits) = (0u32, 0);
    for digit in text.bytes().filter_map(|c| DIGITS.iter().position(|known| *known == c)) {
        word = word << 6 | digit as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((word >> bits) as u8);
        }
    }
    bytes
}
