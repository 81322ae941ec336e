//! Each helper of the SDK for a host function, tried once.

const std = @import("std");
const millrace = @import("millrace");
const Json = millrace.Json;
const context = millrace.context;
const kv = millrace.kv;

const minute_ms = 60_000;

fn codeOf(result: anytype) []const u8 {
    _ = result catch return millrace.failedCode();
    return "none";
}

pub fn helped(at: Json) !millrace.Raw {
    const host = at.get("host").text("");
    millrace.logWith("warn", "with fields", .{ .count = 3, .where = "Ålesund" });
    const midnight = millrace.Time.parse("2012-01-01");
    const unit = .{ .unit = "°C" };
    const size = .{ .name = "probe.size", .value = 1.5, .type = "counter", .dimensions = unit, .time = midnight };
    try millrace.metric(size);
    try millrace.metric(.{ .name = "probe.more", .value = 2 });
    try millrace.publish("alarm.high", .{ .n = 1 });
    try millrace.sleep(1);
    try millrace.progress(2, 2, "ferdig ☃");

    const line = .{ .until = "\n" };
    const tcp = .{ .proto = "tcp", .host = host, .port = at.get("tcp"), .send = "hello\r\n", .expect = line };
    const bytes = try millrace.toBase64(&.{ 0, 255 });
    const udp = .{ .proto = "udp", .host = host, .port = at.get("udp"), .send_base64 = bytes, .timeout_ms = 2000 };
    const echo = try millrace.socket(udp);
    var numbers: [3]u32 = undefined;
    for (&numbers, 0..) |*number, i| number.* = echo.data[i];
    const sealed = .{ .bytes = 2 };
    const tls = .{
        .proto = "tls",
        .host = host,
        .port = at.get("tls"),
        .send = "hi",
        .expect = sealed,
        .verify = false,
    };
    const there = try millrace.ping(.{ .kind = "tcp", .host = host, .port = at.get("tcp") });
    const closed = try millrace.ping(.{ .kind = "tcp", .host = host, .port = at.get("closed"), .timeout_ms = 1000 });
    const shown = try millrace.ping(.{ .kind = "tls", .host = host, .port = at.get("tls") });
    const device = at.get("snmp");
    const oid = .{at.get("oid")};
    const table = .{at.get("table")};
    const name = try millrace.snmp(.{ .op = "get", .host = host, .port = device, .community = "public", .oids = oid });
    const below = try millrace.snmp(.{ .op = "walk", .host = host, .port = device, .oids = table });

    const found = try context.get(null, "port", "eth0");
    const listed = (try context.list(null, "port", "eth")).get("documents");
    var keys: [2]Json = undefined;
    for (&keys, 0..) |*key, i| key.* = listed.at(i).get("key");
    const reply = try millrace.http(.{
        .url = at.get("url"),
        .method = "POST",
        .headers = .{ .authorization = "Bearer " ++ millrace.placeholder("token") },
        .body = "hei",
    });
    return .{ .json = try millrace.toJson(.{
        .kv = try stored(),
        .pages = try paged(),
        .tcp = (try millrace.socket(tcp)).data,
        .udp = numbers,
        .tls = (try millrace.socket(tls)).data,
        .there = there.get("reachable"),
        .closed = closed.get("reason"),
        .certificate = shown.get("certificate").get("subject"),
        .snmp = name.get("values").at(0).get("value"),
        .below = below.get("values").len(),
        .context = found.get("value"),
        .writer = found.get("instance"),
        .keys = keys,
        .nothing = (try context.get(null, "port", "none")).get("value"),
        .denied = codeOf(context.get("oven-2", "secret", "key")),
        .call = try millrace.callFunctionWithin(5000, "units", "convert", .{ .from = 2 }),
        .http = reply.body,
        .plain = try millrace.secret("plain"),
        .csv = try millrace.emitCsv("id,name\n1,å\n2,b\n"),
    }) };
}

fn stored() !millrace.Raw {
    _ = try kv.putFor(minute_ms, "n", .{ .n = 1 });
    const found = try kv.get("n");
    const revision = found.get("revision");
    _ = try kv.updateFor(minute_ms, "n", .{ .n = 2 }, revision);
    const stale = codeOf(kv.update("n", 3, revision));
    const taken = codeOf(kv.create("n", 4));
    const swapped = (try kv.get("n")).get("value");
    _ = try kv.delete("n");
    return .{ .json = try millrace.toJson(.{
        .value = found.get("value"),
        .lives = found.get("ttl_ms").number(0) > 0,
        .swapped = swapped,
        .stale = stale,
        .taken = taken,
        .gone = (try kv.get("n")).get("value"),
    }) };
}

fn paged() ![]const Json {
    for (1..4) |n| {
        _ = try kv.createFor(minute_ms, try std.fmt.allocPrint(millrace.gpa, "a:{d}", .{n}), n);
    }
    var keys: std.ArrayList(Json) = .empty;
    var after: ?[]const u8 = null;
    while (true) {
        const page = try kv.page("a:", 2, after);
        const entries = page.get("entries");
        for (0..entries.len()) |i| try keys.append(millrace.gpa, entries.at(i).get("key"));
        if (page.get("next").isNull()) return keys.items;
        after = page.get("next").text("");
    }
}
