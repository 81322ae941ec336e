//! The plugin's own key-value store: small values, compare-and-set by revision, a time to live.
//! `create` fails with `exists` when there is a value, `update` with `conflict` when somebody wrote since `revision`.

const Json = @import("json.zig").Json;
const call = @import("host.zig").call;

/// `value` is null when there is no such key; `revision` is for `update`.
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
/// These three write what is gone after that time. Writing again begins it anew, and without a ttl it stays.
pub fn putFor(ttl_ms: u64, key: []const u8, value: anytype) !Json {
    return call("kv", .{ .op = "put", .key = key, .value = value, .ttl_ms = ttl_ms });
}
pub fn createFor(ttl_ms: u64, key: []const u8, value: anytype) !Json {
    return call("kv", .{ .op = "create", .key = key, .value = value, .ttl_ms = ttl_ms });
}
pub fn updateFor(ttl_ms: u64, key: []const u8, value: anytype, revision: Json) !Json {
    return call("kv", .{ .op = "update", .key = key, .value = value, .revision = revision, .ttl_ms = ttl_ms });
}
pub fn delete(key: []const u8) !Json {
    return call("kv", .{ .op = "delete", .key = key });
}
/// All entries below a prefix, in `entries`. Fails with `too_large` over 4 MiB: ask for pages then.
pub fn list(prefix: []const u8) !Json {
    return call("kv", .{ .op = "list", .key = prefix });
}
/// At most `limit` of them; while there is more, `next` is what to give as `after`. Null: the first page.
pub fn page(prefix: []const u8, limit: u32, after: ?[]const u8) !Json {
    return call("kv", .{ .op = "list", .key = prefix, .limit = limit, .after = after });
}
