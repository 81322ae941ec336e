;; Fails, with texts in every encoding.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "error_set" (func $error_set (param i64)))
  (import "extism:host/env" "input_offset" (func $input (result i64)))
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/user" "host_call" (func $host_call (param i64 i64) (result i64)))
  (memory (export "memory") 1)
  (data (i32.const 0) "denied{}")
  ;; A block with the bytes of memory at $from.
  (func $block (param $from i32) (param $length i32) (result i64)
    (local $block i64) (local $i i32)
    (local.set $block (call $alloc (i64.extend_i32_u (local.get $length))))
    (loop $next
      (if (i32.lt_u (local.get $i) (local.get $length))
        (then
          (call $store_u8
            (i64.add (local.get $block) (i64.extend_i32_u (local.get $i)))
            (i32.load8_u (i32.add (local.get $from) (local.get $i))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $next))))
    (local.get $block))
  ;; The error is the input, whatever bytes it has.
  (func (export "say") (result i32)
    (call $error_set (call $input))
    (i32.const 1))
  (func (export "say_and_trap") (result i32)
    (call $error_set (call $input))
    unreachable)
  (func (export "silent") (result i32) (i32.const 3))
  ;; Asks the host, then fails with its input.
  (func (export "ask_and_say") (result i32)
    (drop (call $host_call (call $block (i32.const 0) (i32.const 6)) (call $block (i32.const 6) (i32.const 2))))
    (call $error_set (call $input))
    (i32.const 1)))
