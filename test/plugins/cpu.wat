;; Never gives the CPU back.
(module
  (import "extism:host/user" "host_call" (func $host_call (param i64 i64) (result i64)))
  (memory (export "memory") 256)
  (func $spin (export "spin") (result i32)
    (loop $for_ever (br $for_ever))
    (i32.const 0))
  ;; Waits politely once, then does not.
  (func (export "wait_then_spin") (result i32)
    (drop (call $host_call (i64.const 0) (i64.const 0)))
    (call $spin))
  ;; Bulk operations: the engine looks for interrupts between them, if at all.
  (func (export "fill") (result i32)
    (loop $for_ever
      (memory.fill (i32.const 0) (i32.const 7) (i32.const 16777216))
      (br $for_ever))
    (i32.const 0)))
