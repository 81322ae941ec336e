;; The engine's door to the ABI: boots QuickJS, gives JavaScript one native function `__m(op, …)`, runs an export.
;; A JSValue is an i64 here (NaN-boxed); a box is a pointer to one. The function takes over what it returns.
(module
  (import "engine" "memory" (memory 1))
  (import "engine" "__indirect_function_table" (table $functions 1 funcref))
  (import "engine" "_initialize" (func $q_initialize))
  (import "engine" "qjs_init" (func $qjs_init (result i32)))
  (import "engine" "qjs_set_interrupt_handler" (func $qjs_set_interrupt_handler (param i32)))
  (import "engine" "qjs_set_max_stack_size" (func $qjs_set_max_stack_size (param i32)))
  (import "engine" "qjs_get_context_ptr" (func $context (result i32)))
  (import "engine" "qjs_get_runtime_ptr" (func $runtime (result i32)))
  (import "engine" "JS_NewCFunction2" (func $JS_NewCFunction2 (param i32 i32 i32 i32 i32 i32) (result i64)))
  (import "engine" "qjs_eval" (func $qjs_eval (param i32 i32 i32 i32) (result i32)))
  (import "engine" "qjs_run_gc" (func $qjs_run_gc))
  (import "engine" "wasm_malloc" (func $malloc (param i32) (result i32)))
  (import "engine" "wasm_free" (func $free (param i32)))
  (import "engine" "JS_Call" (func $JS_Call (param i32 i64 i64 i32 i32) (result i64)))
  (import "engine" "JS_FreeValue" (func $JS_FreeValue (param i32 i64)))
  (import "engine" "JS_GetGlobalObject" (func $JS_GetGlobalObject (param i32) (result i64)))
  (import "engine" "JS_GetPropertyStr" (func $JS_GetPropertyStr (param i32 i64 i32) (result i64)))
  (import "engine" "JS_SetPropertyStr" (func $JS_SetPropertyStr (param i32 i64 i32 i64) (result i32)))
  (import "engine" "JS_GetException" (func $JS_GetException (param i32) (result i64)))
  (import "engine" "JS_IsJobPending" (func $JS_IsJobPending (param i32) (result i32)))
  (import "engine" "JS_ExecutePendingJob" (func $JS_ExecutePendingJob (param i32 i32) (result i32)))
  (import "engine" "JS_NewStringLen" (func $JS_NewStringLen (param i32 i32 i32) (result i64)))
  (import "engine" "JS_NewNumber" (func $JS_NewNumber (param i32 f64) (result i64)))
  (import "engine" "JS_ParseJSON" (func $JS_ParseJSON (param i32 i32 i32 i32) (result i64)))
  (import "engine" "JS_ThrowRangeError" (func $JS_ThrowRangeError (param i32 i32 i32) (result i64)))
  (import "engine" "JS_ToCStringLen2" (func $JS_ToCStringLen2 (param i32 i32 i64 i32) (result i32)))
  (import "engine" "JS_FreeCString" (func $JS_FreeCString (param i32 i32)))
  (import "engine" "JS_NewUint8ArrayCopy" (func $JS_NewUint8ArrayCopy (param i32 i32 i32) (result i64)))
  (import "engine" "JS_GetUint8Array" (func $JS_GetUint8Array (param i32 i32 i64) (result i32)))
  (import "engine" "JS_IsArray" (func $JS_IsArray (param i64) (result i32)))
  (import "engine" "JS_IsProxy" (func $JS_IsProxy (param i64) (result i32)))
  (import "json" "buffer" (global $buffer (mut i32)))
  (import "json" "length" (global $written (mut i32)))
  (import "rows" "know" (func $know (param i32 i32 i64 i64)))
  (import "rows" "row" (func $row (param i64) (result i32)))
  (import "rows" "value" (func $write (param i64) (result i32)))
  (import "json" "put_null" (func $put_null))
  (import "rows" "busy" (func $busy (result i32)))
  (import "rows" "clear" (func $clear))
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "input_load_u8" (func $input_load_u8 (param i64) (result i32)))
  (import "extism:host/env" "input_load_u64" (func $input_load_u64 (param i64) (result i64)))
  (import "extism:host/env" "length" (func $length (param i64) (result i64)))
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "free" (func $free_block (param i64)))
  (import "extism:host/env" "load_u8" (func $load_u8 (param i64) (result i32)))
  (import "extism:host/env" "load_u64" (func $load_u64 (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "store_u64" (func $store_u64 (param i64 i64)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (import "extism:host/env" "error_set" (func $error_set (param i64)))
  (import "extism:host/user" "host_call" (func $host_call (param i64 i64) (result i64)))
  (import "extism:host/user" "now" (func $now (result f64)))
  (import "extism:host/user" "random" (func $random (param i32) (result i64)))

  ;; 64 bytes of ours: +0 a length or a C string, +16 the dispatcher, +24 the finisher, +32 an argument, +40 "".
  (global $scratch (mut i32) (i32.const 0))
  ;; How often the engine may still ask; only while a plugin is built.
  (global $fuse (mut i32) (i32.const 0))

  ;; Slot 0 of the engine's table is nobody's, as 0 is no function to C; the engine calls whatever it is told.
  (elem (table $functions) (i32.const 0) func $operate)

  (func (export "boot")
    (local $context i32) (local $global i64)
    (call $q_initialize)
    (drop (call $qjs_init))
    (call $qjs_set_max_stack_size (i32.const 262144))
    (global.set $scratch (call $malloc (i32.const 64)))
    (i64.store offset=40 (global.get $scratch) (i64.const 0))
    (local.set $context (call $context))
    (local.set $global (call $JS_GetGlobalObject (local.get $context)))
    (i64.store (global.get $scratch) (i64.const 0x6d5f5f)) ;; "__m"
    (drop (call $JS_SetPropertyStr (local.get $context) (local.get $global) (global.get $scratch)
      (call $JS_NewCFunction2 (local.get $context) (i32.const 0) (global.get $scratch) (i32.const 4) (i32.const 0)
        (i32.const 0))))
    (call $JS_FreeValue (local.get $context) (local.get $global)))

  (func (export "allocate") (param i32) (result i32) (call $malloc (local.get 0)))
  (func (export "release") (param i32) (call $free (local.get 0)))

  ;; Evaluates a script; the text must end with a NUL. 1: it threw, and `thrown` tells what.
  (func (export "eval") (param $code i32) (param $length i32) (param $name i32) (result i32)
    (call $settle_box (call $qjs_eval (local.get $code) (local.get $length) (local.get $name) (i32.const 0))))

  (func $settle_box (param $box i32) (result i32)
    (local $value i64)
    (local.set $value (i64.load (local.get $box)))
    (call $free (local.get $box))
    (if (call $is_exception (local.get $value)) (then (return (i32.const 1))))
    (call $JS_FreeValue (call $context) (local.get $value))
    (i32.const 0))

  ;; Puts the pending exception into the global `__thrown`, for a script to describe.
  (func (export "thrown")
    (local $global i64)
    (local.set $global (call $JS_GetGlobalObject (call $context)))
    (i64.store (global.get $scratch) (i64.const 0x6e776f7268745f5f)) ;; "__thrown"
    (i64.store offset=8 (global.get $scratch) (i64.const 0))
    (drop (call $JS_SetPropertyStr (call $context) (local.get $global) (global.get $scratch)
      (call $JS_GetException (call $context))))
    (call $JS_FreeValue (call $context) (local.get $global)))

  ;; Remembers the globals `__begin` and `__end`, and collects garbage: what follows is the snapshot.
  (func (export "seal")
    (local $global i64)
    (local.set $global (call $JS_GetGlobalObject (call $context)))
    (i64.store (global.get $scratch) (i64.const 0x6e696765625f5f)) ;; "__begin"
    (i64.store offset=16 (global.get $scratch)
      (call $JS_GetPropertyStr (call $context) (local.get $global) (global.get $scratch)))
    (i64.store (global.get $scratch) (i64.const 0x646e655f5f)) ;; "__end"
    (i64.store offset=24 (global.get $scratch)
      (call $JS_GetPropertyStr (call $context) (local.get $global) (global.get $scratch)))
    (call $JS_FreeValue (call $context) (local.get $global))
    (call $qjs_run_gc))

  ;; Jobs until there are none.
  (func $drain (export "drain")
    (block $done (loop $next
      (br_if $done (i32.eqz (call $JS_IsJobPending (call $runtime))))
      ;; A job that throws has rejected a promise already; what is left here is only engine trouble.
      (if (i32.lt_s (call $JS_ExecutePendingJob (call $runtime) (global.get $scratch)) (i32.const 0))
        (then (call $JS_FreeValue (call $context) (call $JS_GetException (call $context)))))
      (br $next))))

  ;; Runs export number `index`: 0 when it went well. The finisher answers 2 while a timer waits to run.
  (func (export "invoke") (param $index i32) (result i32)
    (local $state i64)
    (call $clear)
    (i64.store offset=32 (global.get $scratch) (i64.extend_i32_u (local.get $index)))
    (local.set $state (call $JS_Call (call $context) (i64.load offset=16 (global.get $scratch))
      (i64.const 0x300000000) (i32.const 1) (i32.add (global.get $scratch) (i32.const 32))))
    (if (call $is_exception (local.get $state)) (then (unreachable)))
    (loop $again
      (call $drain)
      (local.set $state (call $JS_Call (call $context) (i64.load offset=24 (global.get $scratch))
        (i64.const 0x300000000) (i32.const 0) (i32.const 0)))
      (if (call $is_exception (local.get $state)) (then (unreachable)))
      (br_if $again (i64.eq (local.get $state) (i64.const 2))))
    (i32.wrap_i64 (local.get $state)))

  (func $is_exception (param i64) (result i32)
    (i64.eq (i64.shr_u (local.get 0) (i64.const 32)) (i64.const 6)))

  ;; Blocks: eight bytes at a time, then the tail.
  (func $block_of (param $from i32) (param $length i32) (result i64)
    (local $block i64) (local $at i32)
    (local.set $block (call $alloc (i64.extend_i32_u (local.get $length))))
    (block $done (loop $next
      (br_if $done (i32.gt_u (i32.add (local.get $at) (i32.const 8)) (local.get $length)))
      (call $store_u64 (i64.add (local.get $block) (i64.extend_i32_u (local.get $at)))
        (i64.load (i32.add (local.get $from) (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br $next)))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $at) (local.get $length)))
      (call $store_u8 (i64.add (local.get $block) (i64.extend_i32_u (local.get $at)))
        (i32.load8_u (i32.add (local.get $from) (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $next)))
    (local.get $block))

  ;; The bytes of a block with a NUL behind them; the caller frees them. The block is freed.
  (func $take_block (param $block i64) (param $length i32) (result i32)
    (local $to i32) (local $at i32)
    (local.set $to (call $must_malloc (local.get $length)))
    (block $done (loop $next
      (br_if $done (i32.gt_u (i32.add (local.get $at) (i32.const 8)) (local.get $length)))
      (i64.store (i32.add (local.get $to) (local.get $at))
        (call $load_u64 (i64.add (local.get $block) (i64.extend_i32_u (local.get $at)))))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br $next)))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $at) (local.get $length)))
      (i32.store8 (i32.add (local.get $to) (local.get $at))
        (call $load_u8 (i64.add (local.get $block) (i64.extend_i32_u (local.get $at)))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $next)))
    (call $free_block (local.get $block))
    (local.get $to))

  (func $take_input (param $length i32) (result i32)
    (local $to i32) (local $at i32)
    (local.set $to (call $must_malloc (local.get $length)))
    (block $done (loop $next
      (br_if $done (i32.gt_u (i32.add (local.get $at) (i32.const 8)) (local.get $length)))
      (i64.store (i32.add (local.get $to) (local.get $at)) (call $input_load_u64 (i64.extend_i32_u (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br $next)))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $at) (local.get $length)))
      (i32.store8 (i32.add (local.get $to) (local.get $at)) (call $input_load_u8 (i64.extend_i32_u (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $next)))
    (local.get $to))

  ;; Room for `length` bytes and a NUL. Memory that cannot grow is a trap: nothing could be reported without it.
  (func $must_malloc (param $length i32) (result i32)
    (local $to i32)
    (local.set $to (call $malloc (i32.add (local.get $length) (i32.const 1))))
    (if (i32.eqz (local.get $to)) (then (unreachable)))
    (i32.store8 (i32.add (local.get $to) (local.get $length)) (i32.const 0))
    (local.get $to))

  ;; A JavaScript string as a block of UTF-8; -1 when it has no text (an exception is pending).
  (func $block_of_string (param $context i32) (param $value i64) (result i64)
    (local $text i32) (local $block i64)
    (local.set $text
      (call $JS_ToCStringLen2 (local.get $context) (global.get $scratch) (local.get $value) (i32.const 0)))
    (if (i32.eqz (local.get $text)) (then (return (i64.const -1))))
    (local.set $block (call $block_of (local.get $text) (i32.load (global.get $scratch))))
    (call $JS_FreeCString (local.get $context) (local.get $text))
    (local.get $block))

  ;; JSON of at most 1,000 levels: the engine's parser recurses, and a stack that overflows cannot be caught.
  (func $parse (param $context i32) (param $bytes i32) (param $length i32) (result i64)
    (local $at i32) (local $end i32) (local $byte i32) (local $depth i32) (local $quoted i32)
    (local.set $at (local.get $bytes))
    (local.set $end (i32.add (local.get $bytes) (local.get $length)))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
      (local.set $byte (i32.load8_u (local.get $at)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (if (i32.eq (local.get $byte) (i32.const 0x22)) (then
        (local.set $quoted (i32.eqz (local.get $quoted)))
        (br $next)))
      (if (local.get $quoted) (then
        (if (i32.eq (local.get $byte) (i32.const 0x5c))
          (then (local.set $at (i32.add (local.get $at) (i32.const 1)))))
        (br $next)))
      ;; Brackets and braces differ in one bit.
      (local.set $byte (i32.or (local.get $byte) (i32.const 0x20)))
      (if (i32.eq (local.get $byte) (i32.const 0x7b))
        (then (local.set $depth (i32.add (local.get $depth) (i32.const 1)))))
      (if (i32.eq (local.get $byte) (i32.const 0x7d))
        (then (local.set $depth (i32.sub (local.get $depth) (i32.const 1)))))
      (if (i32.gt_s (local.get $depth) (i32.const 1000)) (then
        (i64.store (global.get $scratch) (i64.const 0x70656564206f6f74)) ;; "too deep"
        (i64.store offset=8 (global.get $scratch) (i64.const 0))
        (return (call $JS_ThrowRangeError (local.get $context) (global.get $scratch) (i32.const 0)))))
      (br $next)))
    (call $JS_ParseJSON (local.get $context) (local.get $bytes) (local.get $length)
      (i32.add (global.get $scratch) (i32.const 40))))

  (func $argument (param $argv i32) (param $index i32) (result i64)
    (i64.load (i32.add (local.get $argv) (i32.shl (local.get $index) (i32.const 3)))))

  ;; What `__m` runs; there are at least four arguments, the first of them the number of what to do.
  (func $operate (param $context i32) (param $this i64) (param $argc i32) (param $argv i32) (result i64)
    (local $bytes i32) (local $length i32) (local $block i64) (local $named i64) (local $value i64)
    (block $bytes_call (block $answer (block $send (block $row (block $know
    (block $decode (block $encode (block $random (block $now (block $call (block $error (block $output (block $input
      (br_table $input $output $error $call $now $random $encode $decode $know $row $send $answer $bytes_call
        (i32.wrap_i64 (call $argument (local.get $argv) (i32.const 0)))))
      ;; 0: the input of the call, parsed.
      (local.set $length (i32.wrap_i64 (call $input_length)))
      (local.set $bytes (call $take_input (local.get $length)))
      (local.set $value (call $parse (local.get $context) (local.get $bytes) (local.get $length)))
      (call $free (local.get $bytes))
      (return (local.get $value)))
      ;; 1: output(text)
      (local.set $block (call $block_of_string (local.get $context) (call $argument (local.get $argv) (i32.const 1))))
      (if (i64.eq (local.get $block) (i64.const -1)) (then (return (i64.const 0x600000000))))
      (call $output_set (local.get $block) (call $length (local.get $block)))
      (return (i64.const 0x300000000)))
      ;; 2: error(text)
      (local.set $block (call $block_of_string (local.get $context) (call $argument (local.get $argv) (i32.const 1))))
      (if (i64.eq (local.get $block) (i64.const -1)) (then (return (i64.const 0x600000000))))
      (call $error_set (local.get $block))
      (return (i64.const 0x300000000)))
      ;; 3: call(name, request): the answer, parsed.
      (local.set $named (call $block_of_string (local.get $context) (call $argument (local.get $argv) (i32.const 1))))
      (local.set $block (call $block_of_string (local.get $context) (call $argument (local.get $argv) (i32.const 2))))
      (if (i64.eq (local.get $block) (i64.const -1)) (then (return (i64.const 0x600000000))))
      (return (call $ask (local.get $context) (local.get $named) (local.get $block))))
      ;; 4: the host's clock, in milliseconds.
      (return (call $JS_NewNumber (local.get $context) (call $now))))
      ;; 5: random(count): that many bytes.
      (local.set $length (i32.wrap_i64 (call $argument (local.get $argv) (i32.const 1))))
      (local.set $bytes (call $take_block (call $random (local.get $length)) (local.get $length)))
      (local.set $value (call $JS_NewUint8ArrayCopy (local.get $context) (local.get $bytes) (local.get $length)))
      (call $free (local.get $bytes))
      (return (local.get $value)))
      ;; 6: encode(text): UTF-8.
      (local.set $bytes (call $JS_ToCStringLen2 (local.get $context) (global.get $scratch)
        (call $argument (local.get $argv) (i32.const 1)) (i32.const 0)))
      (if (i32.eqz (local.get $bytes)) (then (return (i64.const 0x600000000))))
      (local.set $value (call $JS_NewUint8ArrayCopy (local.get $context) (local.get $bytes)
        (i32.load (global.get $scratch))))
      (call $JS_FreeCString (local.get $context) (local.get $bytes))
      (return (local.get $value)))
      ;; 7: decode(bytes): text.
      (local.set $bytes (call $JS_GetUint8Array (local.get $context) (global.get $scratch)
        (call $argument (local.get $argv) (i32.const 1))))
      (if (i32.and (i32.eqz (local.get $bytes)) (i32.ne (i32.load (global.get $scratch)) (i32.const 0)))
        (then (return (i64.const 0x600000000))))
      (return (call $JS_NewStringLen (local.get $context) (local.get $bytes) (i32.load (global.get $scratch)))))
      ;; 8: know(index, key, value): see rows.wat.
      (call $know (local.get $context) (i32.wrap_i64 (call $argument (local.get $argv) (i32.const 1)))
        (call $argument (local.get $argv) (i32.const 2)) (call $argument (local.get $argv) (i32.const 3)))
      (return (i64.const 0x300000000)))
      ;; 9: row(row, whatever): 0 it is written; 1 it is, and it is time to send; 2 it is a list, or a proxy and nobody
      ;; said `whatever`; 3 it is no row; 4 another row is being written, or the plugin is being built.
      (if (call $busy) (then (return (i64.const 4))))
      (local.set $value (call $argument (local.get $argv) (i32.const 1)))
      (if (i64.ne (call $argument (local.get $argv) (i32.const 2)) (i64.const 0x100000001)) (then
        (if (i32.or (call $JS_IsArray (local.get $value)) (call $JS_IsProxy (local.get $value)))
          (then (return (i64.const 2))))))
      (local.set $length (call $row (local.get $value)))
      (if (i32.eq (local.get $length) (i32.const 2)) (then (return (i64.const 0x600000000))))
      (if (local.get $length) (then (return (i64.const 3))))
      (return (i64.extend_i32_u (i32.ge_u (global.get $written) (i32.const 262144)))))
      ;; 10: send(name): the rows that are written, to the host function of this name; its answer, parsed.
      (if (i32.or (i32.eqz (global.get $written)) (call $busy)) (then (return (i64.const 0x300000000))))
      (local.set $named (call $block_of_string (local.get $context) (call $argument (local.get $argv) (i32.const 1))))
      (local.set $block (call $block_of (global.get $buffer) (global.get $written)))
      (call $clear)
      (return (call $ask (local.get $context) (local.get $named) (local.get $block))))
      ;; 11: answer(value): the output, as JSON; null when there is none.
      (call $clear)
      (local.set $length (call $write (call $argument (local.get $argv) (i32.const 1))))
      (if (i32.eq (local.get $length) (i32.const 2)) (then (return (i64.const 0x600000000))))
      (if (local.get $length) (then (call $put_null)))
      (local.set $block (call $block_of (global.get $buffer) (global.get $written)))
      (call $output_set (local.get $block) (call $length (local.get $block)))
      (return (i64.const 0x300000000)))
    ;; 12: call(name, bytes): as 3.
    (local.set $bytes (call $JS_GetUint8Array (local.get $context) (global.get $scratch)
      (call $argument (local.get $argv) (i32.const 2))))
    (if (i32.and (i32.eqz (local.get $bytes)) (i32.ne (i32.load (global.get $scratch)) (i32.const 0)))
      (then (return (i64.const 0x600000000))))
    (local.set $length (i32.load (global.get $scratch)))
    (local.set $named (call $block_of_string (local.get $context) (call $argument (local.get $argv) (i32.const 1))))
    (call $ask (local.get $context) (local.get $named) (call $block_of (local.get $bytes) (local.get $length))))

  ;; One host call, with its answer parsed. The blocks are freed.
  (func $ask (param $context i32) (param $named i64) (param $block i64) (result i64)
    (local $answer i64) (local $bytes i32) (local $length i32)
    (local.set $answer (call $host_call (local.get $named) (local.get $block)))
    (call $free_block (local.get $named))
    (call $free_block (local.get $block))
    (local.set $length (i32.wrap_i64 (call $length (local.get $answer))))
    (local.set $bytes (call $take_block (local.get $answer) (local.get $length)))
    (local.set $answer (call $parse (local.get $context) (local.get $bytes) (local.get $length)))
    (call $free (local.get $bytes))
    (local.get $answer))

  ;; The engine asks every 10,000 jumps and calls whether it shall go on: so often it may. 0: without end.
  (func (export "guard") (param $times i32)
    (global.set $fuse (local.get $times))
    (call $qjs_set_interrupt_handler (i32.ne (local.get $times) (i32.const 0))))
  (func (export "host_interrupt") (result i32)
    (if (i32.eqz (global.get $fuse)) (then (return (i32.const 0))))
    (global.set $fuse (i32.sub (global.get $fuse) (i32.const 1)))
    (i32.eqz (global.get $fuse)))

  ;; What else the engine imports: for functions that it was given by name (there are none), for modules at run time
  ;; (none either), and the clock in UTC.
  (func (export "host_call") (param i32 i32 i32 i32 i32) (result i32) (unreachable))
  (func (export "host_promise_rejection") (param i32 i32 i32))
  (func (export "host_module_normalize") (param i32 i32) (result i32) (i32.const 0))
  (func (export "host_module_load") (param i32 i32) (result i32) (i32.const 0))
  (func (export "host_get_timezone_offset") (param i32 i32) (result i32) (i32.const 0)))
