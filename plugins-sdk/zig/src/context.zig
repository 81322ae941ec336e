//! Documents about resources. `resource` is a name; null: the one that this call is about. Fails with `denied`.

const Json = @import("json.zig").Json;
const call = @import("host.zig").call;

/// `value`, `instance`, `written`, `ttl_ms`; `value` is null when there is none.
pub fn get(resource: ?[]const u8, namespace: []const u8, key: []const u8) !Json {
    return call("context", .{ .op = "get", .resource = resource, .namespace = namespace, .key = key });
}
/// Those whose key begins so, in `documents`.
pub fn list(resource: ?[]const u8, namespace: []const u8, prefix: []const u8) !Json {
    return call("context", .{ .op = "list", .resource = resource, .namespace = namespace, .key = prefix });
}
/// Pages, as with `kv.page`.
pub fn page(resource: ?[]const u8, namespace: []const u8, prefix: []const u8, limit: u32, after: ?[]const u8) !Json {
    return call("context", .{
        .op = "list",
        .resource = resource,
        .namespace = namespace,
        .key = prefix,
        .limit = limit,
        .after = after,
    });
}
