;; Says too much: output, host calls, log lines.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (import "extism:host/user" "host_call" (func $host_call (param i64 i64) (result i64)))
  (import "extism:host/env" "log_info" (func $log_info (param i64)))
  (memory (export "memory") 1)
  (data (i32.const 0) "noise")
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
  (func (export "output") (result i32)
    (call $output_set (call $alloc (i64.const 8388608)) (i64.const 8388608))
    (i32.const 0))
  (func (export "host_calls") (result i32)
    (local $name i64)
    (local.set $name (call $block (i32.const 0) (i32.const 5)))
    (loop $more
      (drop (call $host_call (local.get $name) (local.get $name)))
      (br $more))
    (i32.const 0))
  (func (export "logs") (result i32)
    (loop $more
      (call $log_info (call $block (i32.const 0) (i32.const 5)))
      (br $more))
    (i32.const 0)))
