;; Asks the host for whatever its input says: one byte with the length of the name, the name, the request.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "length" (func $length (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "free" (func $free (param i64)))
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "input_load_u8" (func $input_load_u8 (param i64) (result i32)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (import "extism:host/env" "error_set" (func $error_set (param i64)))
  (import "extism:host/env" "load_u8" (func $load_u8 (param i64) (result i32)))
  (import "extism:host/user" "host_call" (func $host_call (param i64 i64) (result i64)))
  (memory (export "memory") 1)
  ;; A block with the input's bytes from $from up to $to.
  (func $piece (param $from i64) (param $to i64) (result i64)
    (local $block i64) (local $at i64)
    (local.set $block (call $alloc (i64.sub (local.get $to) (local.get $from))))
    (local.set $at (local.get $from))
    (loop $next
      (if (i64.lt_u (local.get $at) (local.get $to))
        (then
          (call $store_u8
            (i64.add (local.get $block) (i64.sub (local.get $at) (local.get $from)))
            (call $input_load_u8 (local.get $at)))
          (local.set $at (i64.add (local.get $at) (i64.const 1)))
          (br $next))))
    (local.get $block))
  (func $name (result i64)
    (call $piece (i64.const 1) (i64.add (i64.const 1) (i64.extend_i32_u (call $input_load_u8 (i64.const 0))))))
  (func $request (result i64)
    (call $piece
      (i64.add (i64.const 1) (i64.extend_i32_u (call $input_load_u8 (i64.const 0))))
      (call $input_length)))
  ;; Answers with the host's answer.
  (func (export "ask") (result i32)
    (local $answer i64)
    (local.set $answer (call $host_call (call $name) (call $request)))
    (call $output_set (local.get $answer) (call $length (local.get $answer)))
    (i32.const 0))
  ;; Asks the same for ever, whatever the answer is.
  (func (export "nag") (result i32)
    (local $name i64) (local $request i64)
    (local.set $name (call $name))
    (local.set $request (call $request))
    (loop $again
      (call $free (call $host_call (local.get $name) (local.get $request)))
      (br $again))
    (i32.const 0))
  ;; Asks until the answer is an error ({"error": its third byte is e), and fails with that.
  (func (export "insist") (result i32)
    (local $name i64) (local $request i64) (local $answer i64)
    (local.set $name (call $name))
    (local.set $request (call $request))
    (loop $again
      (local.set $answer (call $host_call (local.get $name) (local.get $request)))
      (if (i32.ne (call $load_u8 (i64.add (local.get $answer) (i64.const 2))) (i32.const 101))
        (then
          (call $free (local.get $answer))
          (br $again))))
    (call $output_set (local.get $answer) (call $length (local.get $answer)))
    (i32.const 0)))
