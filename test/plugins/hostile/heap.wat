;; Makes the host hold JavaScript objects: outside of the guest's own memory, and none of it sent away while it computes.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u64" (func $store_u64 (param i64 i64)))
  (import "extism:host/env" "log_info" (func $log_info (param i64)))
  (import "extism:host/env" "var_set" (func $var_set (param i64 i64)))
  (memory (export "memory") 1)
  ;; Lines of 8 KB, without end.
  (func (export "long_lines") (result i32)
    (local $block i64)
    (local.set $block (call $alloc (i64.const 8192)))
    (loop $more (call $log_info (local.get $block)) (br $more))
    (i32.const 0))
  ;; One variable after another, each with a name of its own and nothing in it.
  (func (export "names") (result i32)
    (local $name i64) (local $empty i64) (local $i i64)
    (local.set $name (call $alloc (i64.const 8)))
    (local.set $empty (call $alloc (i64.const 0)))
    (loop $more
      (call $store_u64 (local.get $name) (local.tee $i (i64.add (local.get $i) (i64.const 1))))
      (call $var_set (local.get $name) (local.get $empty))
      (br $more))
    (i32.const 0)))
