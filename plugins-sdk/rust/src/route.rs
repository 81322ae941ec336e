//! `route`: one HTTP request that the gateway hands to the plugin.

use crate::http::{body_of, encode_base64};
use crate::{Call, Json, Object, Output, Result};

#[derive(Debug, Clone)]
pub struct RouteCall {
    pub method: String,
    pub path: String,
    pub headers: Json,
    pub body: Vec<u8>,
    params: Json,
    query: Json,
}

impl Call for RouteCall {
    fn read(input: Vec<u8>) -> Result<RouteCall> {
        let json = Json::parse(&input)?;
        let text = |name: &str| json.get(name).as_str().unwrap_or("").to_owned();
        Ok(RouteCall {
            method: text("method"),
            path: text("path"),
            headers: json.get("headers").clone(),
            body: body_of(&json),
            params: json.get("params").clone(),
            query: json.get("query").clone(),
        })
    }
}

impl RouteCall {
    /// A `{name}` part of the path.
    pub fn param(&self, name: &str) -> &str {
        self.params.get(name).as_str().unwrap_or("")
    }
    /// A query parameter; of one that was given many times, the first.
    pub fn query(&self, name: &str) -> Option<&str> {
        let value = self.query.get(name);
        value.as_str().or_else(|| value.at(0).as_str())
    }
}

/// What a request is answered with.
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    headers: Object,
    body: Vec<u8>,
}

impl Answer {
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Answer {
        Answer { status, headers: Object::new().with("content-type", content_type), body: body.into() }
    }
    pub fn text(status: u16, body: &str) -> Answer {
        Answer::new(status, "text/plain; charset=utf-8", body)
    }
    pub fn json(status: u16, body: impl Into<Json>) -> Answer {
        Answer::new(status, "application/json; charset=utf-8", body.into().to_string())
    }
    /// `{"error":{"code","message"}}`: for what the caller did wrong. For what the plugin cannot do, give an `Err`.
    pub fn error(status: u16, code: &str, message: &str) -> Answer {
        let error = Object::new().with("code", code).with("message", message);
        Answer::json(status, Object::new().with("error", error))
    }
    pub fn header(mut self, name: &str, value: &str) -> Answer {
        self.headers.set(name, value);
        self
    }
}

impl Output for Answer {
    fn write(self) -> Result<Vec<u8>> {
        let mut json = Object::new().with("status", self.status).with("headers", self.headers);
        match String::from_utf8(self.body) {
            Ok(text) => json.set("body", text),
            Err(bytes) => json.set("body_base64", encode_base64(bytes.as_bytes())),
        };
        Ok(Json::from(json).to_string().into_bytes())
    }
}
