;; The interpreter's door to the ABI: boots Lua, gives it one native function `__m(op, …)`, runs an export.
(module
  (import "l" "memory" (memory 1))
  (import "l" "__indirect_function_table" (table $functions 198 funcref))
  (import "l" "__wasm_call_ctors" (func $constructors))
  (import "l" "malloc" (func $malloc (param i32) (result i32)))
  (import "l" "free" (func $free (param i32)))
  (import "l" "stackSave" (func $stack (result i32)))
  (import "l" "stackRestore" (func $restore (param i32)))
  (import "l" "setThrew" (func $setThrew (param i32 i32)))
  (import "l" "luaL_newstate" (func $luaL_newstate (result i32)))
  (import "l" "luaL_openlibs" (func $luaL_openlibs (param i32)))
  (import "l" "luaL_loadbufferx" (func $luaL_loadbufferx (param i32 i32 i32 i32 i32) (result i32)))
  (import "l" "luaL_ref" (func $luaL_ref (param i32 i32) (result i32)))
  (import "l" "lua_rawgeti" (func $lua_rawgeti (param i32 i32 i64) (result i32)))
  (import "l" "lua_getglobal" (func $lua_getglobal (param i32 i32) (result i32)))
  (import "l" "lua_setglobal" (func $lua_setglobal (param i32 i32)))
  (import "l" "lua_pcallk" (func $lua_pcallk (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "l" "lua_settop" (func $lua_settop (param i32 i32)))
  (import "l" "lua_pushcclosure" (func $lua_pushcclosure (param i32 i32 i32)))
  (import "l" "lua_pushinteger" (func $lua_pushinteger (param i32 i64)))
  (import "l" "lua_pushnumber" (func $lua_pushnumber (param i32 f64)))
  (import "l" "lua_pushlstring" (func $lua_pushlstring (param i32 i32 i32) (result i32)))
  (import "l" "lua_tointegerx" (func $lua_tointegerx (param i32 i32 i32) (result i64)))
  (import "l" "lua_tolstring" (func $lua_tolstring (param i32 i32 i32) (result i32)))
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

  (global $state (mut i32) (i32.const 0))
  (global $dispatch (mut i32) (i32.const 0))
  ;; 64 bytes of ours: +0 a length, +16 a C string.
  (global $scratch (mut i32) (i32.const 0))

  ;; Slot 0 of the interpreter's table is nobody's, as 0 is no function to C; Lua calls whatever it is told.
  (elem (table $functions) (i32.const 0) func $operate)

  (func (export "boot")
    (call $constructors)
    (global.set $scratch (call $malloc (i32.const 64)))
    (global.set $state (call $luaL_newstate))
    (call $luaL_openlibs (global.get $state))
    (i64.store offset=16 (global.get $scratch) (i64.const 0x6d5f5f)) ;; "__m"
    (call $lua_pushcclosure (global.get $state) (i32.const 0) (i32.const 0))
    (call $lua_setglobal (global.get $state) (i32.add (global.get $scratch) (i32.const 16))))

  (func (export "allocate") (param i32) (result i32) (call $malloc (local.get 0)))
  (func (export "release") (param i32) (call $free (local.get 0)))

  ;; Runs a chunk called `name`, a C string. When it fails, what it says is set as the output, and the result is not 0.
  (func (export "execute") (param $code i32) (param $length i32) (param $name i32) (result i32)
    (local $failed i32)
    (local.set $failed (call $luaL_loadbufferx (global.get $state) (local.get $code) (local.get $length)
      (local.get $name) (i32.const 0)))
    (if (i32.eqz (local.get $failed)) (then
      (local.set $failed (call $lua_pcallk (global.get $state) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 0)))))
    (if (local.get $failed) (then (call $set_output (call $block_of_text (global.get $state) (i32.const -1)))))
    (call $lua_settop (global.get $state) (i32.const 0))
    (local.get $failed))

  ;; Remembers the global `__dispatch`, in the registry.
  (func (export "seal")
    (i64.store offset=16 (global.get $scratch) (i64.const 0x7461707369645f5f)) ;; "__dispat"
    (i64.store offset=24 (global.get $scratch) (i64.const 0x6863)) ;; "ch"
    (drop (call $lua_getglobal (global.get $state) (i32.add (global.get $scratch) (i32.const 16))))
    (global.set $dispatch (call $luaL_ref (global.get $state) (i32.const -1001000))))

  ;; Runs export number `index`: 0 when it went well. The dispatcher catches what is raised; what it cannot is a trap.
  (func (export "invoke") (param $index i32) (result i32)
    (drop (call $lua_rawgeti (global.get $state) (i32.const -1001000) (i64.extend_i32_u (global.get $dispatch))))
    (call $lua_pushinteger (global.get $state) (i64.extend_i32_u (local.get $index)))
    (if (call $lua_pcallk (global.get $state) (i32.const 1) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0))
      (then (unreachable)))
    (local.set $index (i32.wrap_i64 (call $lua_tointegerx (global.get $state) (i32.const -1) (i32.const 0))))
    (call $lua_settop (global.get $state) (i32.const 0))
    (local.get $index))

  ;; What `__m` runs: 0 input, 1 output(text), 2 error(text), 3 call(name, request), 4 now, 5 random(count).
  (func $operate (param $lua i32) (result i32)
    (local $named i64) (local $asked i64)
    (block $random (block $now (block $call (block $error (block $output (block $input
      (br_table $input $output $error $call $now $random
        (i32.wrap_i64 (call $lua_tointegerx (local.get $lua) (i32.const 1) (i32.const 0)))))
      (call $push_input (local.get $lua))
      (return (i32.const 1)))
      (call $set_output (call $block_of_text (local.get $lua) (i32.const 2)))
      (return (i32.const 0)))
      (call $error_set (call $block_of_text (local.get $lua) (i32.const 2)))
      (return (i32.const 0)))
      (local.set $named (call $block_of_text (local.get $lua) (i32.const 2)))
      (local.set $asked (call $block_of_text (local.get $lua) (i32.const 3)))
      (call $push_block (local.get $lua) (call $host_call (local.get $named) (local.get $asked)))
      (call $free_block (local.get $named))
      (call $free_block (local.get $asked))
      (return (i32.const 1)))
      (call $lua_pushnumber (local.get $lua) (call $now))
      (return (i32.const 1)))
    (call $push_block (local.get $lua) (call $random
      (i32.wrap_i64 (call $lua_tointegerx (local.get $lua) (i32.const 2) (i32.const 0)))))
    (i32.const 1))

  (func $set_output (param $block i64)
    (call $output_set (local.get $block) (call $length (local.get $block))))

  ;; Blocks: eight bytes at a time, then the tail.
  (func $block_of_text (param $lua i32) (param $index i32) (result i64)
    (local $from i32) (local $length i32) (local $block i64) (local $at i32)
    (local.set $from (call $lua_tolstring (local.get $lua) (local.get $index) (global.get $scratch)))
    (if (i32.eqz (local.get $from)) (then (unreachable)))
    (local.set $length (i32.load (global.get $scratch)))
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

  ;; A block as a string of Lua's. The block is freed.
  (func $push_block (param $lua i32) (param $block i64)
    (local $length i32) (local $to i32) (local $at i32)
    (local.set $length (i32.wrap_i64 (call $length (local.get $block))))
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
    (call $push (local.get $lua) (local.get $to) (local.get $length)))

  (func $push_input (param $lua i32)
    (local $length i32) (local $to i32) (local $at i32)
    (local.set $length (i32.wrap_i64 (call $input_length)))
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
    (call $push (local.get $lua) (local.get $to) (local.get $length)))

  (func $push (param $lua i32) (param $bytes i32) (param $length i32)
    (drop (call $lua_pushlstring (local.get $lua) (local.get $bytes) (local.get $length)))
    (call $free (local.get $bytes)))

  ;; Memory that cannot grow is a trap here: Lua has nothing to raise yet.
  (func $must_malloc (param $length i32) (result i32)
    (local $to i32)
    (local.set $to (call $malloc (i32.add (local.get $length) (i32.const 1))))
    (if (i32.eqz (local.get $to)) (then (unreachable)))
    (local.get $to))

  (func (export "emscripten_date_now") (result f64) (call $now))
  (func (export "_emscripten_get_now_is_monotonic") (result i32) (i32.const 0))

  ;; Growing memory: 1 when it could. By a megabyte at a time while there is one: each growing costs the host.
  (func (export "emscripten_resize_heap") (param $bytes i32) (result i32)
    (local $pages i32)
    (local.set $pages (i32.sub
      (i32.shr_u (i32.add (local.get $bytes) (i32.const 65535)) (i32.const 16)) (memory.size)))
    (if (i32.lt_u (local.get $pages) (i32.const 16)) (then
      (if (i32.ne (i32.const -1) (memory.grow (i32.const 16))) (then (return (i32.const 1))))))
    (i32.ne (i32.const -1) (memory.grow (local.get $pages))))
  (func (export "abort") (unreachable))

  ;; Dates and the system: the prelude has its own, in UTC, or has taken them away.
  (func (export "strftime") (param i32 i32 i32 i32) (result i32) (unreachable))
  (func (export "_mktime_js") (param i32) (result i64) (unreachable))
  (func (export "_localtime_js") (param i64 i32) (unreachable))
  (func (export "_gmtime_js") (param i64 i32) (unreachable))
  (func (export "_tzset_js") (param i32 i32 i32))
  (func (export "system") (param i32) (result i32) (unreachable))
  (func (export "exit") (param i32) (unreachable))

  ;; There are no files: -44, no such file.
  (func (export "__syscall_openat") (param i32 i32 i32 i32) (result i32) (i32.const -44))
  (func (export "__syscall_fcntl64") (param i32 i32 i32) (result i32) (i32.const -44))
  (func (export "__syscall_ioctl") (param i32 i32 i32) (result i32) (i32.const -44))
  (func (export "__syscall_dup3") (param i32 i32 i32) (result i32) (i32.const -44))
  (func (export "__syscall_unlinkat") (param i32 i32 i32) (result i32) (i32.const -44))
  (func (export "__syscall_rmdir") (param i32) (result i32) (i32.const -44))
  (func (export "__syscall_renameat") (param i32 i32 i32 i32) (result i32) (i32.const -44))
  (func (export "__syscall_readlinkat") (param i32 i32 i32 i32) (result i32) (i32.const -44))

  ;; longjmp by exceptions: throwing is a longjmp, and the call that Lua made under a setjmp catches it.
  (tag $longjmp)
  (func (export "_emscripten_throw_longjmp") (throw $longjmp))
  (type $vii (func (param i32 i32)))
  (func (export "invoke_vii") (param $index i32) (param i32 i32)
    (local $stack i32)
    (local.set $stack (call $stack))
    (try (do (call_indirect $functions (type $vii) (local.get 1) (local.get 2) (local.get $index)))
      (catch $longjmp
        (call $restore (local.get $stack))
        (call $setThrew (i32.const 1) (i32.const 0))))))
