//! The allocator: first from the memory that the module begins with, as a host makes memory that has grown anew for
//! each call. Pieces come in classes of size, so that what is freed fits the next of its class; the last one grows
//! where it is.
const std = @import("std");
const Alignment = std.mem.Alignment;

const page_bytes = 65_536;
const piece_align = 16;
/// Pieces up to this are powers of two.
const small_bytes = 32_768;
/// Sizes of larger ones between two powers: an eighth is wasted at most.
const steps_log2 = 3;
const steps = 1 << steps_log2;
const small_classes = 16;
/// Up to 2 GiB.
const classes = small_classes + 17 * steps;
const grow_pages = 16;

extern const __heap_base: u8;

var next: usize = 0;
var end: usize = 0;
/// Of each class, the last piece that was freed; each holds the address of the one before.
var idle: [classes]usize = @splat(0);

pub const allocator: std.mem.Allocator = .{
    .ptr = undefined,
    .vtable = &.{ .alloc = alloc, .resize = resize, .remap = remap, .free = free },
};

fn rounded(bytes: usize) usize {
    return std.mem.alignForward(usize, @max(bytes, piece_align), piece_align);
}

const Fitted = struct { bytes: usize, class: usize };

/// How many bytes a piece for so many has in fact, and its class. Both follow from the size alone: it is what is known
/// when a piece is freed.
fn fitted(length: usize) Fitted {
    const wanted = @max(length, piece_align);
    if (wanted <= small_bytes) {
        const power = std.math.log2_int_ceil(usize, wanted);
        return .{ .bytes = @as(usize, 1) << @intCast(power), .class = power };
    }
    const step = @as(usize, 1) << @intCast(std.math.log2_int(usize, wanted) - steps_log2);
    const bytes = std.mem.alignForward(usize, wanted, step);
    const power = std.math.log2_int(usize, bytes);
    const of_power = (bytes >> @intCast(power - steps_log2)) & (steps - 1);
    return .{ .bytes = bytes, .class = small_classes + (@as(usize, power) - 15) * steps + of_power };
}

fn reach(wanted: usize) bool {
    if (wanted <= end) return true;
    const pages = (wanted - end + page_bytes - 1) / page_bytes;
    for ([_]usize{ @max(pages, grow_pages), pages }) |asked| {
        const before = @wasmMemoryGrow(0, asked);
        if (before < 0) continue;
        end = (@as(usize, @intCast(before)) + asked) * page_bytes;
        return true;
    }
    return false;
}

fn cut(bytes: usize, alignment: usize) ?[*]u8 {
    if (end == 0) {
        next = rounded(@intFromPtr(&__heap_base));
        end = @wasmMemorySize(0) * page_bytes;
    }
    const at = std.mem.alignForward(usize, next, alignment);
    if (!reach(at +| bytes)) return null;
    next = at + bytes;
    return @ptrFromInt(at);
}

fn alloc(_: *anyopaque, length: usize, alignment: Alignment, _: usize) ?[*]u8 {
    const piece = fitted(length);
    const at = idle[piece.class];
    if (at != 0 and alignment.toByteUnits() <= piece_align) {
        idle[piece.class] = @as(*const usize, @ptrFromInt(at)).*;
        return @ptrFromInt(at);
    }
    return cut(piece.bytes, @max(alignment.toByteUnits(), piece_align));
}

fn free(_: *anyopaque, memory: []u8, _: Alignment, _: usize) void {
    const at = @intFromPtr(memory.ptr);
    const piece = fitted(memory.len);
    if (piece.bytes > small_bytes and at + piece.bytes == next) {
        next = at;
        return;
    }
    @as(*usize, @ptrFromInt(at)).* = idle[piece.class];
    idle[piece.class] = at;
}

fn resize(_: *anyopaque, memory: []u8, _: Alignment, length: usize, _: usize) bool {
    const at = @intFromPtr(memory.ptr);
    const old = fitted(memory.len);
    const new = fitted(length);
    if (old.class == new.class) return true;
    if (@min(old.bytes, new.bytes) <= small_bytes or at + old.bytes != next or !reach(at +| new.bytes)) return false;
    next = at + new.bytes;
    return true;
}

fn remap(context: *anyopaque, piece: []u8, alignment: Alignment, length: usize, caller: usize) ?[*]u8 {
    return if (resize(context, piece, alignment, length, caller)) piece.ptr else null;
}
