;; Two functions that call each other: each answers with what it was answered.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "length" (func $length (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (import "extism:host/user" "host_call" (func $host_call (param i64 i64) (result i64)))
  (memory (export "memory") 1)
  (data (i32.const 0) "call")
  (data (i32.const 16) "{\"instance\":\"ring\",\"function\":\"ping\"}")
  (data (i32.const 64) "{\"instance\":\"ring\",\"function\":\"pong\"}")
  (func $block (param $from i32) (param $length i32) (result i64)
    (local $block i64) (local $i i32)
    (local.set $block (call $alloc (i64.extend_i32_u (local.get $length))))
    (loop $next
      (call $store_u8
        (i64.add (local.get $block) (i64.extend_i32_u (local.get $i)))
        (i32.load8_u (i32.add (local.get $from) (local.get $i))))
      (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $length))))
    (local.get $block))
  (func $call (param $request i32)
    (local $answer i64)
    (local.set $answer
      (call $host_call (call $block (i32.const 0) (i32.const 4)) (call $block (local.get $request) (i32.const 37))))
    (call $output_set (local.get $answer) (call $length (local.get $answer))))
  (func (export "function:ping") (result i32) (call $call (i32.const 64)) (i32.const 0))
  (func (export "function:pong") (result i32) (call $call (i32.const 16)) (i32.const 0)))
