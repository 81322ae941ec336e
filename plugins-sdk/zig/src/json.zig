//! JSON, both ways: `Json` looks into what came, `Writer` writes structs as they are.

const std = @import("std");
const gpa = @import("abi.zig").gpa;
const host = @import("host.zig");
const Error = host.Error;
const Time = @import("time.zig").Time;

/// JSON that is written already.
pub const Raw = struct { json: []const u8 };

/// Reads JSON. Looking into it never fails: what is not there is null.
pub const Json = struct {
    value: std.json.Value,

    pub fn parse(bytes: []const u8) Error!Json {
        return parseAs(bytes, "bad_json", "not JSON");
    }
    /// What the caller sent, and not the plugin's doing.
    pub fn parseInput(bytes: []const u8) Error!Json {
        return parseAs(bytes, "refused", "the input is not JSON");
    }
    fn parseAs(bytes: []const u8, code: []const u8, comptime what: []const u8) Error!Json {
        const options = std.json.ParseOptions{ .parse_numbers = false, .duplicate_field_behavior = .use_last };
        var scanner = std.json.Scanner.initCompleteInput(gpa, bytes);
        var place = std.json.Diagnostics{};
        scanner.enableDiagnostics(&place);
        const value = std.json.parseFromTokenSourceLeaky(std.json.Value, gpa, &scanner, options) catch |problem|
            return host.fail(code, what ++ " at byte {d}: {s}", .{ place.getByteOffset(), @errorName(problem) });
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
            .int, .comptime_int => try self.print("{d}", value),
            .float, .comptime_float => try self.float(value),
            .null => try self.put("null"),
            .optional => if (value) |some| try self.write(some) else try self.put("null"),
            .@"struct" => |fields| if (fields.is_tuple and std.meta.fieldNames(T).len > 0)
                try self.tuple(value)
            else
                try self.object(value),
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
    fn tuple(self: *Writer, items: anytype) !void {
        try self.put("[");
        inline for (items, 0..) |item, i| {
            if (i > 0) try self.put(",");
            try self.write(item);
        }
        try self.put("]");
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
        if (plain) return self.print("{d}", value);
        try self.print("{e}", value);
    }
    fn print(self: *Writer, comptime format: []const u8, value: anytype) !void {
        var digits: [64]u8 = undefined;
        const text = std.fmt.bufPrint(&digits, format, .{value}) catch try std.fmt.allocPrint(gpa, format, .{value});
        try self.put(text);
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
                else => |c| try self.print("\\u{x:0>4}", c),
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
