//! The guest side of ABI v1: blocks in and out, eight bytes at a time; and the memory of a call.

const std = @import("std");

var arena = std.heap.ArenaAllocator.init(@import("heap.zig").allocator);

/// Memory until the end of the call: free nothing. An instance that serves several calls gives it back when the next
/// one begins; what you keep for that, take from `keep`.
pub const gpa = arena.allocator();

/// Memory for as long as the instance lives: yours to free.
pub const keep = @import("heap.zig").allocator;

/// What the call before left goes. A first call finds nothing, and pays nothing.
pub fn beginCall() void {
    _ = arena.reset(.free_all);
}

pub const env = struct {
    pub extern "extism:host/env" fn input_length() i64;
    pub extern "extism:host/env" fn input_load_u8(i64) i32;
    pub extern "extism:host/env" fn input_load_u64(i64) i64;
    pub extern "extism:host/env" fn length(i64) i64;
    pub extern "extism:host/env" fn alloc(i64) i64;
    pub extern "extism:host/env" fn free(i64) void;
    pub extern "extism:host/env" fn load_u8(i64) i32;
    pub extern "extism:host/env" fn load_u64(i64) i64;
    pub extern "extism:host/env" fn store_u8(i64, i32) void;
    pub extern "extism:host/env" fn store_u64(i64, i64) void;
    pub extern "extism:host/env" fn output_set(i64, i64) void;
    pub extern "extism:host/env" fn error_set(i64) void;
};
pub const user = struct {
    pub extern "extism:host/user" fn host_call(i64, i64) i64;
    pub extern "extism:host/user" fn now() f64;
    pub extern "extism:host/user" fn random(i32) i64;
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

pub fn block(bytes: []const u8) i64 {
    const made = env.alloc(@intCast(bytes.len));
    var at: usize = 0;
    while (at + 8 <= bytes.len) : (at += 8) {
        env.store_u64(made + @as(i64, @intCast(at)), std.mem.readInt(i64, bytes[at..][0..8], .little));
    }
    while (at < bytes.len) : (at += 1) env.store_u8(made + @as(i64, @intCast(at)), bytes[at]);
    return made;
}

pub fn takeBlock(from: i64) ![]u8 {
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
