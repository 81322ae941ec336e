;; Asks the host for something while it is being instantiated.
(module
  (import "extism:host/user" "host_call" (func $host_call (param i64 i64) (result i64)))
  (func $ask (drop (call $host_call (i64.const 0) (i64.const 0))))
  (start $ask)
  (func (export "run") (result i32) (i32.const 0)))
