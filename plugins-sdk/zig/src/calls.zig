//! What exports are called with, one type for each interface, and how they answer.

const std = @import("std");
const gpa = @import("abi.zig").gpa;
const json_module = @import("json.zig");
const network = @import("network.zig");
const callBytes = @import("host.zig").callBytes;
const Json = json_module.Json;
const Raw = json_module.Raw;
const Writer = json_module.Writer;
const Time = @import("time.zig").Time;
const toJson = json_module.toJson;

/// A batch of emitted rows goes out when it is this large.
const batch_bytes = 256 * 1024;

/// Rows on their way to the host, some thousands at a time.
pub const Batch = struct {
    rows: Writer = .{},

    pub fn add(self: *Batch, row: anytype) !void {
        try self.rows.write(row);
        try self.rows.put("\n");
        if (self.rows.bytes.items.len >= batch_bytes) try self.send();
    }
    pub fn send(self: *Batch) !void {
        if (self.rows.bytes.items.len == 0) return;
        _ = try callBytes("emit", self.rows.bytes.items);
        self.rows.bytes.clearRetainingCapacity();
    }
};

/// A window of a pipe whose axis is an integer column: wide enough for signed and unsigned ones.
pub const IntegerRange = struct {
    /// Inclusive.
    begin: i128,
    /// Exclusive.
    end: i128,

    fn parse(begin: []const u8, end: []const u8) ?IntegerRange {
        const from = std.fmt.parseInt(i128, begin, 10) catch return null;
        const to = std.fmt.parseInt(i128, end, 10) catch return null;
        return .{ .begin = from, .end = to };
    }
    pub fn has(self: IntegerRange, position: i128) bool {
        return position >= self.begin and position < self.end;
    }
};

/// One call for the rows of the window [begin, end) of a pipe.
pub const Fetch = struct {
    json: Json,
    pipe: Json,
    config: Json,
    begin: Time,
    end: Time,
    /// On an axis of integers, where `begin` and `end` are 1970; null on an axis of time.
    range: ?IntegerRange,
    /// What the last checkpoint saved, or the `next` of the call before; null at the start.
    cursor: Json,
    status: []const u8 = "ok",
    nextCursor: ?Raw = null,
    rows: Writer = .{},
    batch: Batch = .{},

    pub fn read(json: Json) !Fetch {
        const none = Time{ .us = 0 };
        return .{
            .json = json,
            .pipe = json.get("pipe"),
            .config = json.get("config"),
            .begin = Time.parse(json.get("begin").text("")) orelse none,
            .end = Time.parse(json.get("end").text("")) orelse none,
            .range = IntegerRange.parse(json.get("begin").text(""), json.get("end").text("")),
            .cursor = json.get("cursor"),
        };
    }
    /// Keeps a row for the answer: right for some thousands. `.{ .time = time, .city = "Tromsø" }`
    pub fn add(self: *Fetch, row: anytype) !void {
        if (self.rows.bytes.items.len > 0) try self.rows.put(",");
        try self.rows.write(row);
    }
    /// Sends a row, in batches: right for any number.
    pub fn emit(self: *Fetch, row: anytype) !void {
        try self.batch.add(row);
    }
    /// Sends the emitted rows that wait; the end of the call does it too.
    pub fn flush(self: *Fetch) !void {
        try self.batch.send();
    }
    /// There is more in this window: the host calls again with this cursor.
    pub fn next(self: *Fetch, cursor: anytype) !void {
        self.nextCursor = .{ .json = try toJson(cursor) };
    }
    pub fn noData(self: *Fetch) void {
        self.status = "no_data";
    }
    pub fn notModified(self: *Fetch) void {
        self.status = "not_modified";
    }
    pub fn partial(self: *Fetch) void {
        self.status = "partial";
    }
    pub fn answer(self: *Fetch) ![]const u8 {
        try self.flush();
        const rows = Raw{ .json = try std.fmt.allocPrint(gpa, "[{s}]", .{self.rows.bytes.items}) };
        return toJson(.{ .status = self.status, .next = self.nextCursor, .rows = rows });
    }
};

/// One call for the defaults of a pipe.
pub const Register = struct {
    pipe: Json,
    config: Json,
    columns: Writer = .{},
    indexed: Writer = .{},
    defaults: Writer = .{},

    pub fn read(json: Json) !Register {
        return .{ .pipe = json.get("pipe"), .config = json.get("config") };
    }
    pub fn column(self: *Register, name: []const u8, kind: []const u8) !void {
        try entry(&self.columns, name, kind);
    }
    /// A column of the index.
    pub fn index(self: *Register, name: []const u8) !void {
        if (self.indexed.bytes.items.len > 0) try self.indexed.put(",");
        try self.indexed.write(name);
    }
    /// The column that a row's time is in.
    pub fn datetime(self: *Register, name: []const u8) !void {
        try self.set("datetime", name);
    }
    /// Any other default: `schedule`, `chunk`, `begin`, …
    pub fn set(self: *Register, name: []const u8, value: anytype) !void {
        try entry(&self.defaults, name, value);
    }
    pub fn answer(self: *Register) ![]const u8 {
        const columns = try std.fmt.allocPrint(gpa, "{{{s}}}", .{self.columns.bytes.items});
        const indexed = try std.fmt.allocPrint(gpa, "[{s}]", .{self.indexed.bytes.items});
        try self.set("columns", Raw{ .json = columns });
        try self.set("index", Raw{ .json = indexed });
        return std.fmt.allocPrint(gpa, "{{{s}}}", .{self.defaults.bytes.items});
    }

    fn entry(out: *Writer, name: []const u8, value: anytype) !void {
        if (out.bytes.items.len > 0) try out.put(",");
        try out.write(name);
        try out.put(":");
        try out.write(value);
    }
};

/// One call for what there is to poll.
pub const Discover = struct {
    config: Json,
    site: []const u8,
    complete: bool = true,
    resources: Writer = .{},

    pub fn read(json: Json) !Discover {
        return .{ .config = json.get("config"), .site = json.get("site").text("") };
    }
    /// `.{ .id = "oven-1", .type = "oven", .endpoint = url }`, and `site`, `class`, `subclass`, `labels`, `ttl`. What
    /// was added is all there is (others may be removed), unless `incomplete` was called.
    pub fn add(self: *Discover, resource: anytype) !void {
        if (self.resources.bytes.items.len > 0) try self.resources.put(",");
        try self.resources.write(resource);
    }
    /// There may be more: nothing is removed.
    pub fn incomplete(self: *Discover) void {
        self.complete = false;
    }
    pub fn answer(self: *Discover) ![]const u8 {
        const found = Raw{ .json = try std.fmt.allocPrint(gpa, "[{s}]", .{self.resources.bytes.items}) };
        return toJson(.{ .resources = found, .complete = self.complete });
    }
};

/// One call for the metrics of a resource.
pub const Poll = struct {
    json: Json,
    resource: Json,
    config: Json,
    previous: Json,
    /// Documents about the resource, by namespace and key: of the namespaces that plugin.json lists for `poll`.
    context: Json,
    status: []const u8 = "ok",
    groups: Writer = .{},

    pub fn read(json: Json) !Poll {
        return .{
            .json = json,
            .resource = json.get("resource"),
            .config = json.get("config"),
            .previous = json.get("previous"),
            .context = json.get("context"),
        };
    }
    /// Values that were measured together: `.{ .group = "oven", .dimensions = .{…}, .values = .{ .up = gauge(1) } }`,
    /// and `.time` when it is not the time of the poll.
    pub fn add(self: *Poll, group: anytype) !void {
        if (self.groups.bytes.items.len > 0) try self.groups.put(",");
        try self.groups.write(group);
    }
    pub fn partial(self: *Poll) void {
        self.status = "partial";
    }
    pub fn answer(self: *Poll) ![]const u8 {
        const metrics = Raw{ .json = try std.fmt.allocPrint(gpa, "[{s}]", .{self.groups.bytes.items}) };
        return toJson(.{ .metrics = metrics, .status = self.status });
    }
};

pub const Value = struct { value: f64, type: []const u8 };
/// A value that goes up and down.
pub fn gauge(value: f64) Value {
    return .{ .value = value, .type = "gauge" };
}
/// A value that only grows, save for restarts: rates are made of it.
pub fn counter(value: f64) Value {
    return .{ .value = value, .type = "counter" };
}

/// One call for documents about a resource.
pub const Enrich = struct {
    json: Json,
    resource: Json,
    config: Json,
    status: []const u8 = "ok",
    documents: Writer = .{},

    pub fn read(json: Json) !Enrich {
        return .{ .json = json, .resource = json.get("resource"), .config = json.get("config") };
    }
    /// `.{ .namespace = "port", .key = "eth0", .value = .{ .speed = 1000 } }`; plugin.json declares the namespace.
    /// Also `ttl` (at most the namespace's: "10m"), and `resource`: another one, by its name, or by its id when the
    /// same discovery found it. Documents that are not added stay until their time is over.
    pub fn add(self: *Enrich, document: anytype) !void {
        if (self.documents.bytes.items.len > 0) try self.documents.put(",");
        try self.documents.write(document);
    }
    pub fn partial(self: *Enrich) void {
        self.status = "partial";
    }
    pub fn answer(self: *Enrich) ![]const u8 {
        const documents = Raw{ .json = try std.fmt.allocPrint(gpa, "[{s}]", .{self.documents.bytes.items}) };
        return toJson(.{ .documents = documents, .status = self.status });
    }
};

/// One HTTP request that the gateway hands to the plugin, and its answer.
pub const Route = struct {
    json: Json,
    method: []const u8,
    path: []const u8,
    body: []const u8,
    out: []const u8 = "",

    pub fn read(json: Json) !Route {
        const body = try network.bodyOf(json);
        const method = json.get("method").text("");
        return .{ .json = json, .method = method, .path = json.get("path").text(""), .body = body };
    }
    /// A `{name}` part of the path.
    pub fn param(self: *Route, name: []const u8) []const u8 {
        return self.json.get("params").get(name).text("");
    }
    /// A query parameter; of one that was given many times, the first.
    pub fn ask(self: *Route, name: []const u8, fallback: []const u8) []const u8 {
        const value = self.json.get("query").get(name);
        return value.text(value.at(0).text(fallback));
    }
    /// `headers` is a struct: `.{ .@"content-type" = "text/html" }`.
    pub fn send(self: *Route, status: u16, headers: anytype, body: []const u8) !void {
        if (std.unicode.utf8ValidateSlice(body)) {
            self.out = try toJson(.{ .status = status, .headers = headers, .body = body });
            return;
        }
        self.out = try toJson(.{ .status = status, .headers = headers, .body_base64 = try network.toBase64(body) });
    }
    pub fn sendJson(self: *Route, status: u16, body: anytype) !void {
        try self.send(status, .{ .@"content-type" = "application/json; charset=utf-8" }, try toJson(body));
    }
    /// For what the caller did wrong. For what the plugin cannot do, `fail`.
    pub fn sendError(self: *Route, status: u16, code: []const u8, message: []const u8) !void {
        try self.sendJson(status, .{ .@"error" = .{ .code = code, .message = message } });
    }
    pub fn answer(self: *Route) ![]const u8 {
        return self.out;
    }
};
