//! The probe in Zig: what every native SDK must be able to do, told by its config.

const std = @import("std");
const millrace = @import("millrace");
const Json = millrace.Json;

pub const panic = millrace.panic;
const big: i64 = 9_007_199_254_740_993;

comptime {
    millrace.exports(.{
        .fetch = fetch,
        .sync = @import("sync.zig").written,
        .before_sync = @import("sync.zig").allowed,
        .after_sync = @import("sync.zig").told,
        .register = register,
        .poll = poll,
        .discover = discover,
        .enrich = enrich,
        .route = route,
        .@"function:roundtrip" = roundtrip,
        .@"function:rewrite" = rewrite,
        .@"function:helpers" = @import("helpers.zig").helped,
    });
}

const Row = struct { time: millrace.Time, id: i64, name: []const u8, value: f64, flag: bool };

fn rowAt(run: *millrace.Fetch, i: i64, count: i64) !Row {
    return .{
        .time = run.begin.plus(@divTrunc(run.end.us - run.begin.us, count) * i),
        .id = big + i,
        .name = try std.fmt.allocPrint(millrace.gpa, "rød grød ☃ 𝄞 \"{d}\"\n", .{i}),
        .value = @as(f64, @floatFromInt(i)) / 4,
        .flag = i & 1 == 1,
    };
}

fn fetch(run: *millrace.Fetch) !void {
    const mode = run.config.get("mode").text("rows");
    const count = run.config.get("rows").integer(10);
    const is = struct {
        fn is(a: []const u8, b: []const u8) bool {
            return std.mem.eql(u8, a, b);
        }
    }.is;
    if (is(mode, "emit")) return emitted(run, count);
    if (is(mode, "host")) return hosted(run);
    if (is(mode, "http")) return downloaded(run);
    if (is(mode, "empty")) return run.noData();
    if (is(mode, "fail")) return millrace.fail("asked_to", "failed as asked: é☃", .{});
    if (is(mode, "retry")) return millrace.failRetryable("busy", "later", 50);
    if (is(mode, "crash")) @panic("crashed as asked");
    if (is(mode, "page")) {
        const page = run.cursor.integer(0);
        try run.add(try rowAt(run, page, 3));
        if (page < 2) try run.next(page + 1);
        return;
    }
    var i: i64 = 0;
    while (i < count) : (i += 1) try run.add(try rowAt(run, i, count));
}

/// Rows in batches, each followed by a checkpoint that a later attempt starts after.
fn emitted(run: *millrace.Fetch, count: i64) !void {
    const batches = run.config.get("batches").integer(1);
    var batch = run.cursor.get("batches").integer(0);
    while (batch < batches) : (batch += 1) {
        var i = @divTrunc(batch * count, batches);
        while (i < @divTrunc((batch + 1) * count, batches)) : (i += 1) try run.emit(try rowAt(run, i, count));
        try run.flush();
        try millrace.checkpoint(.{ .batches = batch + 1 });
        try millrace.progress(@floatFromInt(batch + 1), @floatFromInt(batches), "halvveis ☃");
    }
}

fn hosted(run: *millrace.Fetch) !void {
    millrace.log("warn", "logged: {s}", .{"é☃"});
    try run.add(.{ .ok = try millrace.kv.put("größe", .{ .n = @as(u64, std.math.maxInt(u64)) }) });
    try run.add(.{ .ok = try millrace.kv.get("größe") });
    try run.add(.{ .ok = try millrace.query("SELECT {city:String}", .{ .city = "Tromsø" }, 10) });
    try run.add(.{ .ok = .{ .value = try millrace.secret("token") } });
    try run.add(.{ .ok = try millrace.callFunction("units", "convert", .{ .from = 1 }) });
    try millrace.publish("alarm.high", .{ .@"°C" = 41.5 });
    const random = try millrace.random(16);
    const hex = std.fmt.bytesToHex(random[0..16], .lower);
    try run.add(.{ .now = millrace.nowMs(), .clock = millrace.nowMs() / 1000, .random = @as([]const u8, &hex) });
}

fn downloaded(run: *millrace.Fetch) !void {
    const got = try millrace.http(.{
        .url = run.config.get("url").text(""),
        .method = "POST",
        .headers = .{ .@"x-probe" = "é" },
        .body = "hei",
        .timeout_ms = 1500,
    });
    try run.add(.{ .status = got.status, .body = got.body, .type = got.header("content-type") });
}

fn register(run: *millrace.Register) !void {
    try run.column("time", "timestamp");
    try run.column("id", "int64");
    try run.index("time");
    try run.index("id");
    try run.datetime("time");
}

fn poll(run: *millrace.Poll) !void {
    try run.add(.{
        .group = "oven",
        .dimensions = .{
            .resource = run.resource.get("id").text(""),
            .unit = run.context.get("unit").get("temperature").text("°C"),
        },
        .values = .{
            .temperature = millrace.gauge(21.5),
            .polls = millrace.counter(run.previous.get("polls").number(0) + 1),
        },
    });
    const time = millrace.Time.parse("2012-01-01");
    try run.add(.{ .group = "door", .time = time, .dimensions = .{}, .values = .{ .open = millrace.gauge(1) } });
}

fn discover(run: *millrace.Discover) !void {
    for (0..2) |i| try run.add(.{
        .id = try std.fmt.allocPrint(millrace.gpa, "oven-{d}", .{i}),
        .type = "oven",
        .endpoint = "http://127.0.0.1/",
        .site = run.site,
        .labels = .{ .shelf = "øverst" },
    });
}

fn enrich(run: *millrace.Enrich) !void {
    const speed = .{ .speed = run.config.get("speed"), .of = run.resource.get("id") };
    try run.add(.{ .namespace = "port", .key = "ø", .value = speed });
    try run.add(.{ .namespace = "note", .key = "1", .value = "naboen ☃", .resource = "oven-2", .ttl = "5m" });
}

fn route(call: *millrace.Route) !void {
    if (std.mem.eql(u8, call.path, "/binary")) return call.send(200, .{ .@"content-type" = "image/x" }, call.body);
    if (!std.mem.startsWith(u8, call.path, "/echo/")) return call.sendError(404, "not_found", call.path);
    const body = try millrace.toJson(.{
        .name = call.param("name"),
        .q = call.ask("q", "none"),
        .r = call.ask("r", "none"),
        .body = call.body,
    });
    try call.send(201, .{ .@"content-type" = "application/json", .@"x-probe" = "yes" }, body);
}

fn roundtrip(input: []const u8) !Json {
    return Json.parse(input) catch millrace.fail("refused", "not JSON", .{});
}

/// Numbers and times in the SDK's own forms.
fn rewrite(input: Json) !millrace.Raw {
    var out = millrace.Writer{};
    try out.put("[");
    for (0..input.len()) |i| {
        if (i > 0) try out.put(",");
        const one = input.at(i);
        const time = millrace.Time.parse(one.text(""));
        if (one.value == .number_string) try out.write(one.number(0)) else try out.write(time);
    }
    try out.put("]");
    return .{ .json = out.bytes.items };
}
