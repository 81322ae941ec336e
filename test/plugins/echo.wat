;; A well-behaved guest: answers its input, byte by byte through its own memory.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "input_load_u8" (func $input_u8 (param i64) (result i32)))
  (memory (export "memory") 1)
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
  (func (export "run") (result i32)
    (local $i i32) (local $length i32)
    (local.set $length (i32.wrap_i64 (call $input_length)))
    (loop $next
      (if (i32.lt_u (local.get $i) (local.get $length))
        (then
          (i32.store8 (local.get $i) (call $input_u8 (i64.extend_i32_u (local.get $i))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $next))))
    (call $output_set (call $block (i32.const 0) (local.get $length)) (i64.extend_i32_u (local.get $length)))
    (i32.const 0))
  ;; Answers the first four bytes of a longer block.
  (func (export "part") (result i32)
    (call $output_set (call $block (i32.const 0) (i32.const 64)) (i64.const 4))
    (i32.const 0)))
