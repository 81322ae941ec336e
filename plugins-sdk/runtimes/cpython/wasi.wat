;; CPython is a command that runs once to its end: here it becomes something that answers. Its program reads the number
;; of an export from descriptor 0 in a loop; while none is there, asyncify unwinds the stack, and `_start` returns. The
;; next call rewinds it and goes on. What it writes to descriptor 1 is an operation of the host:
;;   i            the input           h<name>\0<request>   a host call         o<text> e<text>   output, error
;; i and h leave an answer: eight bytes of its length, then itself, to be read from descriptor 0.
(module
  (import "c" "memory" (memory 1))
  (import "c" "_start" (func $start))
  (import "c" "asyncify_start_unwind" (func $start_unwind (param i32)))
  (import "c" "asyncify_stop_unwind" (func $stop_unwind))
  (import "c" "asyncify_start_rewind" (func $start_rewind (param i32)))
  (import "c" "asyncify_stop_rewind" (func $stop_rewind))
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "input_load_u8" (func $input_load_u8 (param i64) (result i32)))
  (import "extism:host/env" "input_load_u64" (func $input_load_u64 (param i64) (result i64)))
  (import "extism:host/env" "length" (func $length (param i64) (result i64)))
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "free" (func $free_block (param i64)))
  (import "extism:host/env" "load_u8" (func $load_u8 (param i64) (result i32)))
  (import "extism:host/env" "load_u64" (func $load_u64 (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "store_u64" (func $store_u64 (param i64 i64)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (import "extism:host/env" "error_set" (func $error_set (param i64)))
  (import "extism:host/user" "host_call" (func $host_call (param i64 i64) (result i64)))
  (import "extism:host/user" "now" (func $now (result f64)))
  (import "extism:host/user" "random" (func $random (param i32) (result i64)))

  ;; A page of ours behind the first memory: +0 where the saved stack ends and may end, +16 the number of the export as
  ;; eight bytes, +32 an address of C's, +64 the saved stack.
  (global $page (mut i32) (i32.const 0))
  (global $rewinding (mut i32) (i32.const 0))
  (global $status (mut i32) (i32.const 0))
  ;; What is to be read: 0 nothing, 1 the program, 2 the input, 3 a block.
  (global $source (mut i32) (i32.const 0))
  ;; The block of the answer, in halves, as globals that a snapshot keeps have 32 bits.
  (global $answer_low (mut i32) (i32.const 0))
  (global $answer_high (mut i32) (i32.const 0))
  (global $answer_length (mut i32) (i32.const 0))
  ;; How much was read, its length counted as 8 bytes in front.
  (global $answer_at (mut i32) (i32.const 0))

  ;; Runs the program that is the input as far as its first wait.
  (func (export "boot")
    (global.set $page (i32.shl (memory.grow (i32.const 1)) (i32.const 16)))
    (i32.store (global.get $page) (i32.add (global.get $page) (i32.const 64)))
    (i32.store offset=4 (global.get $page) (i32.add (global.get $page) (i32.const 65536)))
    (global.set $source (i32.const 1))
    (call $start)
    (call $stop_unwind))

  ;; Runs export number `index`: the program says by `s` how it went.
  (func (export "invoke") (param $index i32) (result i32)
    (i64.store offset=16 (global.get $page) (i64.extend_i32_u (local.get $index)))
    (global.set $rewinding (i32.const 1))
    (call $start_rewind (global.get $page))
    (call $start)
    (call $stop_unwind)
    (global.get $status))

  (func $answer (result i64)
    (i64.or (i64.extend_i32_u (global.get $answer_low))
      (i64.shl (i64.extend_i32_u (global.get $answer_high)) (i64.const 32))))

  (func $read_from (param $source i32) (param $block i64) (param $length i64)
    (global.set $source (local.get $source))
    (global.set $answer_low (i32.wrap_i64 (local.get $block)))
    (global.set $answer_high (i32.wrap_i64 (i64.shr_u (local.get $block) (i64.const 32))))
    (global.set $answer_length (i32.wrap_i64 (local.get $length)))
    (global.set $answer_at (i32.const 0)))

  (func (export "fd_read") (param $fd i32) (param $iovs i32) (param $count i32) (param $read i32) (result i32)
    (local $to i32) (local $room i32) (local $at i32)
    (local.set $to (i32.load (local.get $iovs)))
    (local.set $room (i32.load offset=4 (local.get $iovs)))
    (if (local.get $fd) (then (return (i32.const 8))))
    (if (global.get $rewinding) (then
      (global.set $rewinding (i32.const 0))
      (call $stop_rewind)
      (i64.store (local.get $to) (i64.load offset=16 (global.get $page)))
      (i32.store (local.get $read) (i32.const 8))
      (return (i32.const 0))))
    (if (i32.eqz (global.get $source)) (then
      (call $start_unwind (global.get $page))
      (return (i32.const 0))))
    (if (i32.eq (global.get $source) (i32.const 1)) (then
      (local.set $room (i32.wrap_i64 (call $input_length)))
      (call $copy_input (local.get $to) (i32.const 0) (local.get $room))
      (global.set $source (i32.const 0))
      (i32.store (local.get $read) (local.get $room))
      (return (i32.const 0))))
    (if (i32.eqz (global.get $answer_at)) (then
      (i64.store (local.get $to) (i64.extend_i32_u (global.get $answer_length)))
      (global.set $answer_at (i32.const 8))
      ;; Nobody reads nothing: what comes next is a wait.
      (if (i32.eqz (global.get $answer_length)) (then (global.set $source (i32.const 0))))
      (i32.store (local.get $read) (i32.const 8))
      (return (i32.const 0))))
    (local.set $at (i32.sub (global.get $answer_at) (i32.const 8)))
    (if (i32.gt_u (local.get $room) (i32.sub (global.get $answer_length) (local.get $at)))
      (then (local.set $room (i32.sub (global.get $answer_length) (local.get $at)))))
    (if (i32.eq (global.get $source) (i32.const 2))
      (then (call $copy_input (local.get $to) (local.get $at) (local.get $room)))
      (else (call $copy_block (call $answer) (local.get $to) (local.get $at) (local.get $room))))
    (global.set $answer_at (i32.add (global.get $answer_at) (local.get $room)))
    (if (i32.eq (i32.add (local.get $at) (local.get $room)) (global.get $answer_length)) (then
      (if (i32.eq (global.get $source) (i32.const 3)) (then (call $free_block (call $answer))))
      (global.set $source (i32.const 0))))
    (i32.store (local.get $read) (local.get $room))
    (i32.const 0))

  (func $copy_input (param $to i32) (param $from i32) (param $length i32)
    (local $at i32)
    (block $done (loop $next
      (br_if $done (i32.gt_u (i32.add (local.get $at) (i32.const 8)) (local.get $length)))
      (i64.store (i32.add (local.get $to) (local.get $at))
        (call $input_load_u64 (i64.extend_i32_u (i32.add (local.get $from) (local.get $at)))))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br $next)))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $at) (local.get $length)))
      (i32.store8 (i32.add (local.get $to) (local.get $at))
        (call $input_load_u8 (i64.extend_i32_u (i32.add (local.get $from) (local.get $at)))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $next))))

  (func $copy_block (param $block i64) (param $to i32) (param $from i32) (param $length i32)
    (local $at i32)
    (local.set $block (i64.add (local.get $block) (i64.extend_i32_u (local.get $from))))
    (block $done (loop $next
      (br_if $done (i32.gt_u (i32.add (local.get $at) (i32.const 8)) (local.get $length)))
      (i64.store (i32.add (local.get $to) (local.get $at))
        (call $load_u64 (i64.add (local.get $block) (i64.extend_i32_u (local.get $at)))))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br $next)))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $at) (local.get $length)))
      (i32.store8 (i32.add (local.get $to) (local.get $at))
        (call $load_u8 (i64.add (local.get $block) (i64.extend_i32_u (local.get $at)))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $next))))

  (func $block_of (param $from i32) (param $length i32) (result i64)
    (local $block i64) (local $at i32)
    (local.set $block (call $alloc (i64.extend_i32_u (local.get $length))))
    (block $done (loop $next
      (br_if $done (i32.gt_u (i32.add (local.get $at) (i32.const 8)) (local.get $length)))
      (call $store_u64 (i64.add (local.get $block) (i64.extend_i32_u (local.get $at)))
        (i64.load (i32.add (local.get $from) (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br $next)))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $at) (local.get $length)))
      (call $store_u8 (i64.add (local.get $block) (i64.extend_i32_u (local.get $at)))
        (i32.load8_u (i32.add (local.get $from) (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $next)))
    (local.get $block))

  (func (export "fd_write") (param $fd i32) (param $iovs i32) (param $count i32) (param $wrote i32) (result i32)
    (local $from i32) (local $length i32) (local $named i64) (local $block i64) (local $at i32) (local $op i32)
    (local.set $from (i32.load (local.get $iovs)))
    (local.set $length (i32.load offset=4 (local.get $iovs)))
    (i32.store (local.get $wrote) (local.get $length))
    ;; What an interpreter says about itself goes nowhere.
    (if (i32.ne (local.get $fd) (i32.const 1)) (then (return (i32.const 0))))
    (if (i32.eqz (local.get $length)) (then (return (i32.const 0))))
    (local.set $op (i32.load8_u (local.get $from)))
    (local.set $from (i32.add (local.get $from) (i32.const 1)))
    (local.set $length (i32.sub (local.get $length) (i32.const 1)))
    (if (i32.eq (local.get $op) (i32.const 0x73)) (then ;; s: how an export ended
      (global.set $status (i32.sub (i32.load8_u (local.get $from)) (i32.const 0x30)))
      (return (i32.const 0))))
    (if (i32.eq (local.get $op) (i32.const 0x69)) (then
      (call $read_from (i32.const 2) (i64.const 0) (call $input_length))
      (return (i32.const 0))))
    (if (i32.eq (local.get $op) (i32.const 0x68)) (then
      (block $done (loop $next
        (br_if $done (i32.eqz (i32.load8_u (i32.add (local.get $from) (local.get $at)))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
      (local.set $named (call $block_of (local.get $from) (local.get $at)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (local.set $block (call $block_of (i32.add (local.get $from) (local.get $at))
        (i32.sub (local.get $length) (local.get $at))))
      (call $answer_with (call $host_call (local.get $named) (local.get $block)))
      (call $free_block (local.get $named))
      (call $free_block (local.get $block))
      (return (i32.const 0))))
    (local.set $block (call $block_of (local.get $from) (local.get $length)))
    (if (i32.eq (local.get $op) (i32.const 0x6f))
      (then (call $output_set (local.get $block) (call $length (local.get $block))))
      (else (call $error_set (local.get $block))))
    (i32.const 0))

  (func $answer_with (param $block i64)
    (call $read_from (i32.const 3) (local.get $block) (call $length (local.get $block))))

  ;; python -I -S -B -c <what follows>
  (func (export "args_sizes_get") (param $count i32) (param $bytes i32) (result i32)
    (i32.store (local.get $count) (i32.const 6))
    (i32.store (local.get $bytes) (i32.const 88))
    (i32.const 0))
  (func (export "args_get") (param $argv i32) (param $to i32) (result i32)
    (i32.store (local.get $argv) (local.get $to))
    (i32.store offset=4 (local.get $argv) (i32.add (local.get $to) (i32.const 8)))
    (i32.store offset=8 (local.get $argv) (i32.add (local.get $to) (i32.const 12)))
    (i32.store offset=12 (local.get $argv) (i32.add (local.get $to) (i32.const 16)))
    (i32.store offset=16 (local.get $argv) (i32.add (local.get $to) (i32.const 20)))
    (i32.store offset=20 (local.get $argv) (i32.add (local.get $to) (i32.const 24)))
    (i64.store (local.get $to) (i64.const 0x6e6f68747970)) ;; "python"
    (i32.store offset=8 (local.get $to) (i32.const 0x492d)) ;; "-I"
    (i32.store offset=12 (local.get $to) (i32.const 0x532d)) ;; "-S"
    (i32.store offset=16 (local.get $to) (i32.const 0x422d)) ;; "-B"
    (i32.store offset=20 (local.get $to) (i32.const 0x632d)) ;; "-c"
    (i64.store offset=24 (local.get $to) (i64.const 0x6f2074726f706d69)) ;; "import o"
    (i64.store offset=32 (local.get $to) (i64.const 0x6f28636578653b73)) ;; "s;exec(o"
    (i64.store offset=40 (local.get $to) (i64.const 0x3028646165722e73)) ;; "s.read(0"
    (i64.store offset=48 (local.get $to) (i64.const 0x292930323c3c312c)) ;; ",1<<20))"
    (i64.store offset=56 (local.get $to) (i64.const 0x3120656c6968770a)) ;; "\nwhile 1"
    (i64.store offset=64 (local.get $to) (i64.const 0x6f286e75725f5f3a)) ;; ":__run(o"
    (i64.store offset=72 (local.get $to) (i64.const 0x3028646165722e73)) ;; "s.read(0"
    (i64.store offset=80 (local.get $to) (i64.const 0x2929382c)) ;; ",8))"
    (i32.const 0))

  (func (export "clock_time_get") (param i32 i64 i32) (result i32)
    (i64.store (local.get 2) (i64.trunc_sat_f64_u (f64.mul (call $now) (f64.const 1e6))))
    (i32.const 0))
  (func (export "clock_res_get") (param i32 i32) (result i32)
    (i64.store (local.get 1) (i64.const 1000000))
    (i32.const 0))
  (func (export "random_get") (param $to i32) (param $count i32) (result i32)
    (local $block i64)
    (local.set $block (call $random (local.get $count)))
    (call $copy_block (local.get $block) (local.get $to) (i32.const 0) (local.get $count))
    (call $free_block (local.get $block))
    (i32.const 0))
  (func (export "environ_sizes_get") (param i32 i32) (result i32)
    (i32.store (local.get 0) (i32.const 0))
    (i32.store (local.get 1) (i32.const 0))
    (i32.const 0))
  (func (export "environ_get") (param i32 i32) (result i32) (i32.const 0))
  ;; Descriptors 0 to 2 are character devices that may be read and written; there are no others.
  (func (export "fd_fdstat_get") (param $fd i32) (param $to i32) (result i32)
    (if (i32.gt_u (local.get $fd) (i32.const 2)) (then (return (i32.const 8))))
    (i64.store (local.get $to) (i64.const 2))
    (i64.store offset=8 (local.get $to) (i64.const 66))
    (i64.store offset=16 (local.get $to) (i64.const 0))
    (i32.const 0))
  (func (export "fd_filestat_get") (param $fd i32) (param $to i32) (result i32)
    (if (i32.gt_u (local.get $fd) (i32.const 2)) (then (return (i32.const 8))))
    (memory.fill (local.get $to) (i32.const 0) (i32.const 64))
    (i32.store8 offset=16 (local.get $to) (i32.const 2))
    (i32.const 0))
  (func (export "proc_exit") (param i32) (unreachable))
  (func (export "sched_yield") (result i32) (i32.const 0))
  ;; 8: no such descriptor; 52: not there; 58: not supported.
  (func (export "fd_advise") (param i32 i64 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_allocate") (param i32 i64 i64) (result i32) (i32.const 8))
  (func (export "fd_close") (param i32) (result i32) (i32.const 8))
  (func (export "fd_datasync") (param i32) (result i32) (i32.const 8))
  (func (export "fd_fdstat_set_flags") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_filestat_set_size") (param i32 i64) (result i32) (i32.const 8))
  (func (export "fd_filestat_set_times") (param i32 i64 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_pread") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_dir_name") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_pwrite") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_readdir") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_seek") (param i32 i64 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_sync") (param i32) (result i32) (i32.const 8))
  (func (export "fd_tell") (param i32 i32) (result i32) (i32.const 8))
  (func (export "path_create_directory") (param i32 i32 i32) (result i32) (i32.const 58))
  (func (export "path_filestat_get") (param i32 i32 i32 i32 i32) (result i32) (i32.const 44))
  (func (export "path_filestat_set_times") (param i32 i32 i32 i32 i64 i64 i32) (result i32) (i32.const 58))
  (func (export "path_link") (param i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 58))
  (func (export "path_open") (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32) (i32.const 44))
  (func (export "path_readlink") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 44))
  (func (export "path_remove_directory") (param i32 i32 i32) (result i32) (i32.const 58))
  (func (export "path_rename") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 58))
  (func (export "path_symlink") (param i32 i32 i32 i32 i32) (result i32) (i32.const 58))
  (func (export "path_unlink_file") (param i32 i32 i32) (result i32) (i32.const 58))
  (func (export "poll_oneoff") (param i32 i32 i32 i32) (result i32) (i32.const 58))
  (func (export "sock_accept") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "sock_recv") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "sock_send") (param i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "sock_shutdown") (param i32 i32) (result i32) (i32.const 8)))
