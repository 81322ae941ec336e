//! Sockets, probes and SNMP through the host, to where the manifest asks for and the operator grants.

use crate::http::{decode_base64, encode_base64};
use crate::{Json, Object, Result, call};
use std::time::Duration;

/// One request and its answer: `Socket::tcp(host, 25).until("\n").exchange("EHLO me\r\n")?`
#[derive(Debug, Clone)]
pub struct Socket {
    request: Object,
    expect: Object,
}

impl Socket {
    pub fn tcp(host: &str, port: u16) -> Socket {
        Socket::new("tcp", host, port)
    }
    pub fn tls(host: &str, port: u16) -> Socket {
        Socket::new("tls", host, port)
    }
    pub fn udp(host: &str, port: u16) -> Socket {
        Socket::new("udp", host, port)
    }
    fn new(proto: &str, host: &str, port: u16) -> Socket {
        let request = Object::new().with("proto", proto).with("host", host).with("port", port);
        Socket { request, expect: Object::new() }
    }
    /// The answer is whole when these bytes have come.
    pub fn until(mut self, bytes: impl Into<Vec<u8>>) -> Socket {
        set_bytes(&mut self.expect, "until", bytes.into());
        self
    }
    /// It is whole with so many bytes; 0 waits for none. Else: one datagram, or all until the other side ends.
    pub fn length(mut self, bytes: u32) -> Socket {
        self.expect.set("bytes", bytes);
        self
    }
    pub fn timeout(mut self, timeout: Duration) -> Socket {
        self.request.set("timeout_ms", timeout.as_millis() as i64);
        self
    }
    /// Takes whatever certificate it is shown.
    pub fn any_certificate(mut self) -> Socket {
        self.request.set("verify", false);
        self
    }
    /// Errors: `denied`, `unavailable`, `deadline`, `too_large`.
    pub fn exchange(mut self, send: impl Into<Vec<u8>>) -> Result<SocketReply> {
        set_bytes(&mut self.request, "send", send.into());
        let answer = call("socket", self.request.with("expect", self.expect))?;
        Ok(SocketReply {
            data: decode_base64(answer.get("data_base64").as_str().unwrap_or("")),
            closed: answer.get("closed").as_bool().unwrap_or(false),
            elapsed_ms: answer.get("elapsed_ms").as_f64().unwrap_or(0.0),
        })
    }
}

#[derive(Debug, Clone)]
pub struct SocketReply {
    pub data: Vec<u8>,
    /// Whether the other side closed the connection.
    pub closed: bool,
    pub elapsed_ms: f64,
}

impl SocketReply {
    /// What is not UTF-8 becomes U+FFFD.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.data).into_owned()
    }
}

fn set_bytes(request: &mut Object, name: &str, bytes: Vec<u8>) {
    match String::from_utf8(bytes) {
        Ok(text) => drop(request.set(name, text)),
        Err(error) => drop(request.set(&format!("{name}_base64"), encode_base64(error.as_bytes()))),
    }
}

/// Whether something is there: `kind` is `tcp`, `tls` (with `certificate`) or `icmp` (port 0). `reachable`: that it is
/// not, is an answer, with a `reason`. A timeout of zero is the host's default.
pub fn ping(kind: &str, host: &str, port: u16, timeout: Duration) -> Result<Json> {
    let mut request = Object::new().with("kind", kind).with("host", host);
    if port > 0 {
        request.set("port", port);
    }
    if !timeout.is_zero() {
        request.set("timeout_ms", timeout.as_millis() as i64);
    }
    call("ping", request)
}

/// SNMP v2c with a community; `user` makes it v3: `Snmp::new(host).community("public").get(&[oid])?`
#[derive(Debug, Clone)]
pub struct Snmp(Object);

impl Snmp {
    pub fn new(host: &str) -> Snmp {
        Snmp(Object::new().with("host", host))
    }
    pub fn port(self, port: u16) -> Snmp {
        self.set("port", port)
    }
    pub fn community(self, name: &str) -> Snmp {
        self.set("community", name)
    }
    /// `name`, `auth_protocol`, `auth_key`, `priv_protocol`, `priv_key`; the keys that are given decide the level.
    pub fn user(self, user: Object) -> Snmp {
        self.set("version", "3").set("user", user)
    }
    pub fn timeout(self, timeout: Duration) -> Snmp {
        self.set("timeout_ms", timeout.as_millis() as i64)
    }
    /// `retries`, `max_repetitions`, `max_values`.
    pub fn set(mut self, name: &str, value: impl Into<Json>) -> Snmp {
        self.0.set(name, value);
        self
    }
    /// `oid`, `type` and `value` for each OID.
    pub fn get(self, oids: &[&str]) -> Result<Vec<Json>> {
        Ok(self.ask("get", oids)?.get("values").items().to_vec())
    }
    /// All below each OID, in `values`; `truncated`: there was more than `max_values`.
    pub fn walk(self, oids: &[&str]) -> Result<Json> {
        self.ask("walk", oids)
    }

    fn ask(self, op: &str, oids: &[&str]) -> Result<Json> {
        let oids: Vec<Json> = oids.iter().map(|oid| (*oid).into()).collect();
        call("snmp", self.0.with("op", op).with("oids", oids))
    }
}
