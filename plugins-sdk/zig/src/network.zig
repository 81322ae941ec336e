//! HTTP, sockets, probes and SNMP through the host, to where the manifest asks for and the operator grants.

const std = @import("std");
const gpa = @import("abi.zig").gpa;
const Json = @import("json.zig").Json;
const host = @import("host.zig");

pub const Response = struct {
    status: i64,
    body: []const u8,
    json: Json,

    pub fn header(self: Response, name: []const u8) []const u8 {
        return self.json.get("headers").get(name).text("");
    }
};

/// `http(.{ .url = "https://…" })`; also `method`, `headers` (a struct), `body`, `timeout_ms`, `cache`, `proxy`, and
/// `.retry = .{ .attempts = 3 }`.
pub fn http(request: anytype) !Response {
    const json = try host.call("http", request);
    return .{ .status = json.get("status").integer(0), .body = try bodyOf(json), .json = json };
}

/// The body of a message that has `body` or `body_base64`.
pub fn bodyOf(message: Json) ![]const u8 {
    const encoded = message.get("body_base64").text("");
    return if (encoded.len == 0) message.get("body").text("") else fromBase64(encoded);
}

pub fn fromBase64(text: []const u8) ![]const u8 {
    const decoder = std.base64.standard.Decoder;
    const size = decoder.calcSizeForSlice(text) catch return host.fail("bad_input", "what is not base64", .{});
    const bytes = try gpa.alloc(u8, size);
    decoder.decode(bytes, text) catch return host.fail("bad_input", "what is not base64", .{});
    return bytes;
}

pub fn toBase64(bytes: []const u8) ![]const u8 {
    const encoder = std.base64.standard.Encoder;
    return encoder.encode(try gpa.alloc(u8, encoder.calcSize(bytes.len)), bytes);
}

pub const SocketReply = struct {
    data: []const u8,
    /// Whether the other side closed the connection.
    closed: bool,
    elapsed_ms: f64,
};

/// One request and its answer: `socket(.{ .proto = "tcp", .host = h, .port = p, .send = "hello\n" })`; bytes by
/// `send_base64`. `.expect = .{ .until = "\n" }`, or `bytes`, of which 0 waits for none; without: one datagram, or all until the other
/// side ends. Also `timeout_ms`, and `.verify = false`.
pub fn socket(request: anytype) !SocketReply {
    const json = try host.call("socket", request);
    return .{
        .data = try fromBase64(json.get("data_base64").text("")),
        .closed = json.get("closed").boolean(false),
        .elapsed_ms = json.get("elapsed_ms").number(0),
    };
}

/// Whether something is there: `ping(.{ .kind = "tcp", .host = h, .port = p })`, or `tls` (with `certificate`), `icmp`.
/// `reachable`: that it is not, is an answer, with a `reason`.
pub fn ping(request: anytype) !Json {
    return host.call("ping", request);
}

/// `snmp(.{ .op = "get", .host = h, .oids = .{oid} })`, or `walk`: `values` with `oid`, `type` and `value`, and
/// `truncated`. Also `port`, `community`, `max_values`, `retries`, `timeout_ms`; of v3 `.version = "3"` and
/// `.user = .{ .name, .auth_protocol, .auth_key, .priv_protocol, .priv_key }`.
pub fn snmp(request: anytype) !Json {
    return host.call("snmp", request);
}
