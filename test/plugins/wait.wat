;; Waits in host calls: host_call("wait", input), whose answer it returns.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (import "extism:host/env" "length" (func $length (param i64) (result i64)))
  (import "extism:host/env" "input_offset" (func $input (result i64)))
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/user" "host_call" (func $host_call (param i64 i64) (result i64)))
  (import "extism:host/env" "load_u8" (func $load_u8 (param i64) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "wait")
  (global $calls (mut i32) (i32.const 0))
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
  (func $wait (result i64) (call $host_call (call $block (i32.const 0) (i32.const 4)) (call $input)))
  (func (export "run") (result i32)
    (local $answer i64)
    (local.set $answer (call $wait))
    (call $output_set (local.get $answer) (call $length (local.get $answer)))
    (i32.const 0))
  ;; Keeps the first byte of its input in memory and in a global over a wait. Answers three bytes: what memory and
  ;; the global held before (0 0 in a fresh instance), and what memory holds after the wait (its own byte).
  (func (export "marker") (result i32)
    (i32.store8 (i32.const 100) (i32.load8_u (i32.const 103)))
    (i32.store8 (i32.const 101) (global.get $calls))
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (i32.store8 (i32.const 103) (call $load_u8 (call $input)))
    (drop (call $wait))
    (i32.store8 (i32.const 102) (i32.load8_u (i32.const 103)))
    (call $output_set (call $block (i32.const 100) (i32.const 3)) (i64.const 3))
    (i32.const 0))
  ;; Catches whatever it can and goes on for ever.
  (func (export "stubborn") (result i32)
    (loop $again
      (try (do (drop (call $wait))) (catch_all))
      (br $again))
    (i32.const 0)))
