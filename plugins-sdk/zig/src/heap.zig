//! The allocator: first from the memory that the module begins with, as a host makes memory that has grown anew for each
//! call. Small pieces are powers of two; what is freed is used again; the last piece grows where it is.
const std = @import("std");
const Alignment = std.mem.Alignment;

const page_bytes = 65_536;
const piece_align = 16;
/// Pieces up to this are powers of two.
const small_bytes = 32_768;
const grow_pages = 16;

extern const __heap_base: u8;

var next: usize = 0;
var end: usize = 0;
/// By the power of two that a free piece holds at least, the last one freed; each holds the address of the one before.
var idle: [32]usize = @splat(0);

pub const allocator: std.mem.Allocator = .{
    .ptr = undefined,
    .vtable = &.{ .alloc = alloc, .resize = resize, .remap = remap, .free = free },
};

fn rounded(bytes: usize) usize {
    return std.mem.alignForward(usize, @max(bytes, piece_align), piece_align);
}

fn powerAbove(bytes: usize) usize {
    return std.math.log2_int_ceil(usize, bytes);
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
    const bytes = rounded(length);
    const power = powerAbove(bytes);
    if (alignment.toByteUnits() <= piece_align and power < idle.len and idle[power] != 0) {
        const at = idle[power];
        idle[power] = @as(*const usize, @ptrFromInt(at)).*;
        return @ptrFromInt(at);
    }
    const size = if (bytes <= small_bytes) @as(usize, 1) << @intCast(power) else bytes;
    return cut(size, @max(alignment.toByteUnits(), piece_align));
}

fn free(_: *anyopaque, piece: []u8, _: Alignment, _: usize) void {
    const at = @intFromPtr(piece.ptr);
    const bytes = rounded(piece.len);
    if (bytes > small_bytes and at + bytes == next) {
        next = at;
        return;
    }
    const power = if (bytes <= small_bytes) powerAbove(bytes) else std.math.log2_int(usize, bytes);
    @as(*usize, @ptrFromInt(at)).* = idle[power];
    idle[power] = at;
}

fn resize(_: *anyopaque, piece: []u8, _: Alignment, length: usize, _: usize) bool {
    const old = rounded(piece.len);
    const new = rounded(length);
    if (old <= small_bytes) return new <= small_bytes and powerAbove(old) == powerAbove(new);
    const at = @intFromPtr(piece.ptr);
    if (new <= small_bytes or at + old != next or !reach(at +| new)) return false;
    next = at + new;
    return true;
}

fn remap(context: *anyopaque, piece: []u8, alignment: Alignment, length: usize, caller: usize) ?[*]u8 {
    return if (resize(context, piece, alignment, length, caller)) piece.ptr else null;
}
