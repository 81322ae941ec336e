;; A well-behaved guest that moves words, as the libraries of Extism do: answers its input through its own memory.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u64" (func $store_u64 (param i64 i64)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "input_load_u64" (func $input_u64 (param i64) (result i64)))
  (memory (export "memory") 17)
  ;; A whole number of words.
  (func (export "run") (result i32)
    (local $at i64) (local $length i64) (local $block i64)
    (local.set $length (call $input_length))
    (if (i64.ne (i64.and (local.get $length) (i64.const 7)) (i64.const 0)) (then (return (i32.const 1))))
    (loop $next
      (if (i64.lt_u (local.get $at) (local.get $length))
        (then
          (i64.store (i32.wrap_i64 (local.get $at)) (call $input_u64 (local.get $at)))
          (local.set $at (i64.add (local.get $at) (i64.const 8)))
          (br $next))))
    (local.set $block (call $alloc (local.get $length)))
    (local.set $at (i64.const 0))
    (loop $next
      (if (i64.lt_u (local.get $at) (local.get $length))
        (then
          (call $store_u64 (i64.add (local.get $block) (local.get $at)) (i64.load (i32.wrap_i64 (local.get $at))))
          (local.set $at (i64.add (local.get $at) (i64.const 8)))
          (br $next))))
    (call $output_set (local.get $block) (local.get $length))
    (i32.const 0)))
