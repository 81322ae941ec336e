//! Millrace plugins in Zig, in one file. A call's memory is one arena that the host drops whole: free nothing.
//!
//!     const millrace = @import("millrace");
//!     pub const panic = millrace.panic;
//!     comptime {
//!         millrace.exports(.{ .fetch = fetch });
//!     }
//!     fn fetch(run: *millrace.Fetch) !void { … }

const std = @import("std");

pub const gpa = @import("heap.zig").allocator;
pub const second_us: i64 = 1_000_000;
pub const day_us: i64 = 86_400 * second_us;
/// A batch of emitted rows goes out when it is this large.
const batch_bytes = 256 * 1024;

const env = struct {
    extern "extism:host/env" fn input_length() i64;
    extern "extism:host/env" fn input_load_u8(i64) i32;
    extern "extism:host/env" fn input_load_u64(i64) i64;
    extern "extism:host/env" fn length(i64) i64;
    extern "extism:host/env" fn alloc(i64) i64;
    extern "extism:host/env" fn free(i64) void;
    extern "extism:host/env" fn load_u8(i64) i32;
    extern "extism:host/env" fn load_u64(i64) i64;
    extern "extism:host/env" fn store_u8(i64, i32) void;
    extern "extism:host/env" fn store_u64(i64, i64) void;
    extern "extism:host/env" fn output_set(i64, i64) void;
    extern "extism:host/env" fn error_set(i64) void;
};
const user = struct {
    extern "extism:host/user" fn host_call(i64, i64) i64;
    extern "extism:host/user" fn now() f64;
    extern "extism:host/user" fn random(i32) i64;
};

/// `error.Failed` has its code and message beside it, see `fail`; any other error has the code `failed` and its name.
pub const Error = error{ Failed, OutOfMemory };

const Fault = struct { code: []const u8, message: []const u8, retryable: bool = false, details: ?Raw = null };
var fault: ?Fault = null;

/// JSON that is written already.
pub const Raw = struct { json: []const u8 };

/// `return millrace.fail("bad_answer", "no column {s}", .{name});`
pub fn fail(code: []const u8, comptime format: []const u8, values: anytype) Error {
    fault = .{ .code = code, .message = try std.fmt.allocPrint(gpa, format, values) };
    return error.Failed;
}

/// A failure that the retry policy tries again, not before `after_ms`; 0 leaves it to the policy.
pub fn failRetryable(code: []const u8, message: []const u8, after_ms: u32) Error {
    const written = try std.fmt.allocPrint(gpa, "{{\"retry_after_ms\":{d}}}", .{after_ms});
    const details = if (after_ms > 0) Raw{ .json = written } else null;
    fault = .{ .code = code, .message = message, .retryable = true, .details = details };
    return error.Failed;
}

/// The code of the `error.Failed` just caught: "denied", "unavailable", …
pub fn failedCode() []const u8 {
    return if (fault) |known| known.code else "";
}

/// Reads JSON. Looking into it never fails: what is not there is null.
pub const Json = struct {
    value: std.json.Value,

    pub fn parse(bytes: []const u8) Error!Json {
        const options = std.json.ParseOptions{ .parse_numbers = false, .duplicate_field_behavior = .use_last };
        const value = std.json.parseFromSliceLeaky(std.json.Value, gpa, bytes, options) catch |problem|
            return fail("bad_json", "not JSON: {s}", .{@errorName(problem)});
        return .{ .value = value };
    }
    pub fn get(self: Json, name: []const u8) Json {
        if (self.value != .object) return .{ .value = .null };
        return .{ .value = self.value.object.get(name) orelse .null };
    }
    /// How many elements an array has.
    pub fn len(self: Json) usize {
        return if (self.value == .array) self.value.array.items.len else 0;
    }
    pub fn at(self: Json, index: usize) Json {
        return .{ .value = if (index < self.len()) self.value.array.items[index] else .null };
    }
    pub fn isNull(self: Json) bool {
        return self.value == .null;
    }
    pub fn text(self: Json, fallback: []const u8) []const u8 {
        return if (self.value == .string) self.value.string else fallback;
    }
    pub fn boolean(self: Json, fallback: bool) bool {
        return if (self.value == .bool) self.value.bool else fallback;
    }
    /// The nearest double.
    pub fn number(self: Json, fallback: f64) f64 {
        if (self.value != .number_string) return fallback;
        return std.fmt.parseFloat(f64, self.value.number_string) catch fallback;
    }
    /// Exactly; the fallback when it has a fraction or does not fit.
    pub fn integer(self: Json, fallback: i64) i64 {
        if (self.value != .number_string) return fallback;
        return std.fmt.parseInt(i64, self.value.number_string, 10) catch fallback;
    }
};

/// Writes anything as JSON: structs and their fields, slices, text, numbers, optionals, `Json`, `Time`, `Raw`.
pub const Writer = struct {
    bytes: std.ArrayList(u8) = .empty,

    pub fn put(self: *Writer, bytes: []const u8) !void {
        try self.bytes.appendSlice(gpa, bytes);
    }
    pub fn write(self: *Writer, value: anytype) !void {
        const T = @TypeOf(value);
        if (T == Raw) return self.put(value.json);
        if (T == Json) return self.dynamic(value.value);
        if (T == Time) return self.quoted(try value.format());
        switch (@typeInfo(T)) {
            .bool => try self.put(if (value) "true" else "false"),
            .int, .comptime_int => try self.put(try std.fmt.allocPrint(gpa, "{d}", .{value})),
            .float, .comptime_float => try self.float(value),
            .null => try self.put("null"),
            .optional => if (value) |some| try self.write(some) else try self.put("null"),
            .@"struct" => try self.object(value),
            .array => try self.array(value[0..]),
            .pointer => |pointer| switch (pointer.size) {
                .slice => if (pointer.child == u8) try self.quoted(value) else try self.array(value),
                else => if (@typeInfo(pointer.child) == .array and @typeInfo(pointer.child).array.child == u8)
                    try self.quoted(value)
                else
                    try self.write(value.*),
            },
            else => @compileError("millrace cannot write " ++ @typeName(T) ++ " as JSON"),
        }
    }

    fn object(self: *Writer, value: anytype) !void {
        try self.put("{");
        inline for (comptime std.meta.fieldNames(@TypeOf(value)), 0..) |name, i| {
            if (i > 0) try self.put(",");
            try self.quoted(name);
            try self.put(":");
            try self.write(@field(value, name));
        }
        try self.put("}");
    }
    fn array(self: *Writer, items: anytype) !void {
        try self.put("[");
        for (items, 0..) |item, i| {
            if (i > 0) try self.put(",");
            try self.write(item);
        }
        try self.put("]");
    }
    /// NaN and the infinities are null.
    fn float(self: *Writer, value: f64) !void {
        if (!std.math.isFinite(value)) return self.put("null");
        const size = @abs(value);
        const plain = size == 0 or (size >= 1e-7 and size < 1e21);
        if (plain) return self.put(try std.fmt.allocPrint(gpa, "{d}", .{value}));
        try self.put(try std.fmt.allocPrint(gpa, "{e}", .{value}));
    }
    fn dynamic(self: *Writer, value: std.json.Value) Error!void {
        switch (value) {
            .null => try self.put("null"),
            .bool => |truth| try self.put(if (truth) "true" else "false"),
            .number_string => |digits| try self.put(digits),
            .integer => |number| try self.write(number),
            .float => |number| try self.float(number),
            .string => |text| try self.quoted(text),
            .array => |items| {
                try self.put("[");
                for (items.items, 0..) |item, i| {
                    if (i > 0) try self.put(",");
                    try self.dynamic(item);
                }
                try self.put("]");
            },
            .object => |entries| {
                try self.put("{");
                for (entries.keys(), entries.values(), 0..) |name, item, i| {
                    if (i > 0) try self.put(",");
                    try self.quoted(name);
                    try self.put(":");
                    try self.dynamic(item);
                }
                try self.put("}");
            },
        }
    }
    /// What is not UTF-8 becomes U+FFFD.
    fn quoted(self: *Writer, text: []const u8) Error!void {
        try self.put("\"");
        var from: usize = 0;
        var i: usize = 0;
        while (i < text.len) {
            const length = std.unicode.utf8ByteSequenceLength(text[i]) catch 0;
            const whole = length > 0 and i + length <= text.len;
            const valid = whole and std.unicode.utf8ValidateSlice(text[i .. i + length]);
            if (valid and text[i] >= 0x20 and text[i] != '"' and text[i] != '\\') {
                i += length;
                continue;
            }
            try self.put(text[from..i]);
            if (!valid) {
                try self.put("\u{fffd}");
            } else switch (text[i]) {
                '"' => try self.put("\\\""),
                '\\' => try self.put("\\\\"),
                '\n' => try self.put("\\n"),
                else => |c| try self.put(try std.fmt.allocPrint(gpa, "\\u{x:0>4}", .{c})),
            }
            i += 1;
            from = i;
        }
        try self.put(text[from..]);
        try self.put("\"");
    }
};

/// Anything as JSON text.
pub fn toJson(value: anytype) ![]const u8 {
    var out = Writer{};
    try out.write(value);
    return out.bytes.items;
}

/// Microseconds since the epoch; RFC 3339 outside.
pub const Time = struct {
    us: i64,

    /// `2012-01-31T00:00:00.5Z`, with an offset, or a bare date (midnight UTC).
    pub fn parse(text: []const u8) ?Time {
        if (text.len < 10 or text[4] != '-' or text[7] != '-') return null;
        const year = digits(text[0..4]) orelse return null;
        const month = digits(text[5..7]) orelse return null;
        const day = digits(text[8..10]) orelse return null;
        if (month < 1 or month > 12 or day < 1 or day > daysOf(year, month)) return null;
        const midnight = daysFromEpoch(year, month, day) * day_us;
        if (text.len == 10) return .{ .us = midnight };
        if (text.len < 20 or text[13] != ':' or text[16] != ':') return null;
        const hour = digits(text[11..13]) orelse return null;
        const minute = digits(text[14..16]) orelse return null;
        const second = digits(text[17..19]) orelse return null;
        if (hour > 23 or minute > 59 or second > 59) return null;
        var at: usize = 19;
        var fraction: i64 = 0;
        if (text[at] == '.') {
            var unit = second_us;
            at += 1;
            while (at < text.len and std.ascii.isDigit(text[at])) : (at += 1) {
                unit = @divTrunc(unit, 10);
                fraction += unit * (text[at] - '0');
            }
        }
        const zone = text[at..];
        var offset: i64 = 0;
        if (zone.len == 6 and (zone[0] == '+' or zone[0] == '-') and zone[3] == ':') {
            const hours = digits(zone[1..3]) orelse return null;
            const minutes = digits(zone[4..6]) orelse return null;
            offset = (hours * 60 + minutes) * @as(i64, if (zone[0] == '-') -1 else 1);
        } else if (zone.len != 1 or (zone[0] != 'Z' and zone[0] != 'z')) return null;
        return .{ .us = midnight + ((hour * 60 + minute - offset) * 60 + second) * second_us + fraction };
    }

    pub fn plus(self: Time, us: i64) Time {
        return .{ .us = self.us + us };
    }

    /// `2012-01-31`, the UTC day.
    pub fn date(self: Time) ![]const u8 {
        const day = @divFloor(self.us, day_us) + 719_468;
        const era = @divFloor(day, 146_097);
        const doe = day - era * 146_097;
        const yoe = @divFloor(doe - @divFloor(doe, 1_460) + @divFloor(doe, 36_524) - @divFloor(doe, 146_096), 365);
        const doy = doe - (365 * yoe + @divFloor(yoe, 4) - @divFloor(yoe, 100));
        const shifted = @divFloor(5 * doy + 2, 153);
        const month = if (shifted < 10) shifted + 3 else shifted - 9;
        const year = yoe + era * 400 + @intFromBool(month <= 2);
        const of_month = doy - @divFloor(153 * shifted + 2, 5) + 1;
        const parts = .{ @as(u32, @intCast(year)), @as(u32, @intCast(month)), @as(u32, @intCast(of_month)) };
        return std.fmt.allocPrint(gpa, "{d:0>4}-{d:0>2}-{d:0>2}", parts);
    }

    /// RFC 3339 in UTC, with microseconds only where there are some.
    pub fn format(self: Time) ![]const u8 {
        const in_day: u64 = @intCast(@mod(self.us, day_us));
        const unit: u64 = @intCast(second_us);
        const seconds = in_day / unit;
        const fraction = in_day % unit;
        const clock = .{ try self.date(), seconds / 3600, seconds / 60 % 60, seconds % 60 };
        if (fraction == 0) return std.fmt.allocPrint(gpa, "{s}T{d:0>2}:{d:0>2}:{d:0>2}Z", clock);
        return std.fmt.allocPrint(gpa, "{s}T{d:0>2}:{d:0>2}:{d:0>2}.{d:0>6}Z", clock ++ .{fraction});
    }

    fn digits(text: []const u8) ?i64 {
        for (text) |c| if (!std.ascii.isDigit(c)) return null;
        return std.fmt.parseInt(i64, text, 10) catch null;
    }
    fn daysOf(year: i64, month: i64) i64 {
        const leap = @mod(year, 4) == 0 and (@mod(year, 100) != 0 or @mod(year, 400) == 0);
        return switch (month) {
            2 => if (leap) 29 else 28,
            4, 6, 9, 11 => 30,
            else => 31,
        };
    }
    fn daysFromEpoch(year: i64, month: i64, day: i64) i64 {
        const y = if (month <= 2) year - 1 else year;
        const era = @divFloor(y, 400);
        const yoe = y - era * 400;
        const doy = @divFloor(153 * (if (month > 2) month - 3 else month + 9) + 2, 5) + day - 1;
        return era * 146_097 + yoe * 365 + @divFloor(yoe, 4) - @divFloor(yoe, 100) + doy - 719_468;
    }
};

/// The whole input of this call.
pub fn input() ![]u8 {
    const bytes = try gpa.alloc(u8, @intCast(env.input_length()));
    var at: usize = 0;
    while (at + 8 <= bytes.len) : (at += 8) {
        std.mem.writeInt(i64, bytes[at..][0..8], env.input_load_u64(@intCast(at)), .little);
    }
    while (at < bytes.len) : (at += 1) bytes[at] = @intCast(env.input_load_u8(@intCast(at)));
    return bytes;
}

fn block(bytes: []const u8) i64 {
    const made = env.alloc(@intCast(bytes.len));
    var at: usize = 0;
    while (at + 8 <= bytes.len) : (at += 8) {
        env.store_u64(made + @as(i64, @intCast(at)), std.mem.readInt(i64, bytes[at..][0..8], .little));
    }
    while (at < bytes.len) : (at += 1) env.store_u8(made + @as(i64, @intCast(at)), bytes[at]);
    return made;
}

fn takeBlock(from: i64) ![]u8 {
    const bytes = try gpa.alloc(u8, @intCast(env.length(from)));
    var at: usize = 0;
    while (at + 8 <= bytes.len) : (at += 8) {
        std.mem.writeInt(i64, bytes[at..][0..8], env.load_u64(from + @as(i64, @intCast(at))), .little);
    }
    while (at < bytes.len) : (at += 1) bytes[at] = @intCast(env.load_u8(from + @as(i64, @intCast(at))));
    env.free(from);
    return bytes;
}

/// Milliseconds since the epoch, by the host's clock. It stands still while the guest computes.
pub fn nowMs() f64 {
    return user.now();
}

/// Random bytes from the host, at most 1 MiB.
pub fn random(count: u20) ![]u8 {
    return takeBlock(user.random(count));
}

/// Calls a host function by name; the request is anything that `Writer` writes. The others are made of this.
pub fn call(name: []const u8, request: anytype) Error!Json {
    return callBytes(name, try toJson(request));
}

fn callBytes(name: []const u8, request: []const u8) Error!Json {
    const named = block(name);
    const asked = block(request);
    const answer = try Json.parse(try takeBlock(user.host_call(named, asked)));
    env.free(named);
    env.free(asked);
    const refused = answer.get("error");
    if (refused.isNull()) return answer.get("ok");
    const details = refused.get("details");
    fault = .{
        .code = refused.get("code").text("host_error"),
        .message = refused.get("message").text("the host gave no reason"),
        .retryable = refused.get("retryable").boolean(false),
        .details = if (details.isNull()) null else .{ .json = try toJson(details) },
    };
    return error.Failed;
}

/// A line of this run's log: level is debug, info, warn or error.
pub fn log(level: []const u8, comptime format: []const u8, values: anytype) void {
    const message = std.fmt.allocPrint(gpa, format, values) catch return;
    _ = call("log", .{ .level = level, .message = message }) catch return;
}
/// How far this run is, for people who watch it.
pub fn progress(done: f64, total: f64, message: []const u8) !void {
    _ = try call("progress", .{ .done = done, .total = total, .message = message });
}
/// Saves where this run is: after a crash the next attempt gets `cursor` back. Flush your rows first.
pub fn checkpoint(cursor: anytype) !void {
    _ = try call("checkpoint", .{ .cursor = cursor });
}
/// Read-only SQL on granted tables. Placeholders are ClickHouse's, `{city:String}`: never build SQL from input.
pub fn query(sql: []const u8, params: anytype, max_rows: u32) !Json {
    return call("query", .{ .sql = sql, .params = params, .max_rows = max_rows });
}
/// A secret's value, for secrets that plugin.json lists with `!`.
pub fn secret(name: []const u8) ![]const u8 {
    return (try call("secret", .{ .name = name })).get("value").text("");
}
/// Calls a function of another instance; gives its output.
pub fn callFunction(instance: []const u8, function: []const u8, value: anytype) !Json {
    return (try call("call", .{ .instance = instance, .function = function, .input = value })).get("output");
}
/// Tells whoever listens below this instance's own subjects.
pub fn publish(subject: []const u8, body: anytype) !void {
    _ = try call("publish", .{ .subject = subject, .body = body });
}

/// The plugin's own key-value store. `create` fails with `exists`, `update` with `conflict`.
pub const kv = struct {
    pub fn get(key: []const u8) !Json {
        return call("kv", .{ .op = "get", .key = key });
    }
    pub fn put(key: []const u8, value: anytype) !Json {
        return call("kv", .{ .op = "put", .key = key, .value = value });
    }
    pub fn create(key: []const u8, value: anytype) !Json {
        return call("kv", .{ .op = "create", .key = key, .value = value });
    }
    pub fn update(key: []const u8, value: anytype, revision: Json) !Json {
        return call("kv", .{ .op = "update", .key = key, .value = value, .revision = revision });
    }
    pub fn delete(key: []const u8) !Json {
        return call("kv", .{ .op = "delete", .key = key });
    }
    pub fn list(prefix: []const u8) !Json {
        return call("kv", .{ .op = "list", .key = prefix });
    }
};

pub const Response = struct {
    status: i64,
    body: []const u8,
    json: Json,

    pub fn header(self: Response, name: []const u8) []const u8 {
        return self.json.get("headers").get(name).text("");
    }
};

/// `http(.{ .url = "https://…" })`; also `method`, `headers` (a struct), `body`, `timeout_ms`.
pub fn http(request: anytype) !Response {
    const json = try call("http", request);
    return .{ .status = json.get("status").integer(0), .body = try bodyOf(json), .json = json };
}

fn bodyOf(message: Json) ![]const u8 {
    const encoded = message.get("body_base64").text("");
    if (encoded.len == 0) return message.get("body").text("");
    const decoder = std.base64.standard.Decoder;
    const size = decoder.calcSizeForSlice(encoded) catch return fail("bad_input", "a body that is not base64", .{});
    const bytes = try gpa.alloc(u8, size);
    decoder.decode(bytes, encoded) catch return fail("bad_input", "a body that is not base64", .{});
    return bytes;
}

/// One call for the rows of the window [begin, end) of a pipe.
pub const Fetch = struct {
    json: Json,
    pipe: Json,
    config: Json,
    begin: Time,
    end: Time,
    /// What the last checkpoint saved, or the `next` of the call before; null at the start.
    cursor: Json,
    status: []const u8 = "ok",
    nextCursor: ?Raw = null,
    rows: Writer = .{},
    batch: Writer = .{},

    fn read(json: Json) !Fetch {
        const none = Time{ .us = 0 };
        return .{
            .json = json,
            .pipe = json.get("pipe"),
            .config = json.get("config"),
            .begin = Time.parse(json.get("begin").text("")) orelse none,
            .end = Time.parse(json.get("end").text("")) orelse none,
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
        try self.batch.write(row);
        try self.batch.put("\n");
        if (self.batch.bytes.items.len >= batch_bytes) try self.flush();
    }
    /// Sends the emitted rows that wait; the end of the call does it too.
    pub fn flush(self: *Fetch) !void {
        if (self.batch.bytes.items.len == 0) return;
        _ = try callBytes("emit", self.batch.bytes.items);
        self.batch.bytes.clearRetainingCapacity();
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
    fn answer(self: *Fetch) ![]const u8 {
        try self.flush();
        const rows = Raw{ .json = try std.fmt.allocPrint(gpa, "[{s}]", .{self.rows.bytes.items}) };
        return toJson(.{ .status = self.status, .next = self.nextCursor, .rows = rows });
    }
};

/// One call for the metrics of a resource.
pub const Poll = struct {
    json: Json,
    resource: Json,
    config: Json,
    previous: Json,
    status: []const u8 = "ok",
    groups: Writer = .{},

    fn read(json: Json) !Poll {
        const resource = json.get("resource");
        return .{ .json = json, .resource = resource, .config = json.get("config"), .previous = json.get("previous") };
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
    fn answer(self: *Poll) ![]const u8 {
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

/// One HTTP request that the gateway hands to the plugin, and its answer.
pub const Route = struct {
    json: Json,
    method: []const u8,
    path: []const u8,
    body: []const u8,
    out: []const u8 = "",

    fn read(json: Json) !Route {
        const body = try bodyOf(json);
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
        const encoder = std.base64.standard.Encoder;
        const encoded = encoder.encode(try gpa.alloc(u8, encoder.calcSize(body.len)), body);
        self.out = try toJson(.{ .status = status, .headers = headers, .body_base64 = encoded });
    }
    pub fn sendJson(self: *Route, status: u16, body: anytype) !void {
        try self.send(status, .{ .@"content-type" = "application/json; charset=utf-8" }, try toJson(body));
    }
    /// For what the caller did wrong. For what the plugin cannot do, `fail`.
    pub fn sendError(self: *Route, status: u16, code: []const u8, message: []const u8) !void {
        try self.sendJson(status, .{ .@"error" = .{ .code = code, .message = message } });
    }
    fn answer(self: *Route) ![]const u8 {
        return self.out;
    }
};

/// Exports functions by name. They take `*Fetch`, `*Poll` or `*Route` and give `!void`; any other takes `Json` (or
/// `[]const u8`, the input as it is) and gives what is to be written: `.register`, `.discover`, `.@"function:x"`.
pub fn exports(comptime functions: anytype) void {
    inline for (comptime std.meta.fieldNames(@TypeOf(functions))) |name| {
        const Exported = struct {
            fn run() callconv(.c) i32 {
                return finish(answerOf(@field(functions, name)));
            }
        };
        @export(&Exported.run, .{ .name = name });
    }
}

fn answerOf(comptime function: anytype) anyerror![]const u8 {
    const Param = @FieldType(std.meta.ArgsTuple(@TypeOf(function)), "0");
    const bytes = try input();
    if (Param == []const u8) return toJson(try function(bytes));
    const json = try Json.parse(bytes);
    if (Param == Json) return toJson(try function(json));
    var run = try @typeInfo(Param).pointer.child.read(json);
    try function(&run);
    return run.answer();
}

fn finish(answer: anyerror![]const u8) i32 {
    if (answer) |output| {
        env.output_set(block(output), @intCast(output.len));
        return 0;
    } else |problem| {
        const known = if (problem == error.Failed) fault else null;
        setError(known orelse .{ .code = "failed", .message = @errorName(problem) });
        return 1;
    }
}

fn setError(known: Fault) void {
    env.error_set(block(toJson(known) catch "{\"code\":\"out_of_memory\",\"message\":\"out of memory\"}"));
}

/// `pub const panic = millrace.panic;` in your root file: a panic ends the call with the code `panicked`.
pub const panic = std.debug.FullPanic(panicked);

fn panicked(message: []const u8, _: ?usize) noreturn {
    setError(.{ .code = "panicked", .message = message });
    @trap();
}
