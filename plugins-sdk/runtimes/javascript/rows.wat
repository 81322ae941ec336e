;; Values as JSON, byte for byte as JSON.stringify writes them, in one buffer and without strings in between: the
;; engine's own writer makes some ten objects for a row, which was most of what a row cost. What is common is written
;; here; anything else (a `toJSON`, a Map, a proxy, great depth) is the engine's to write, value by value.
;;
;; A JSValue is an i64 whose upper half is a tag, or more than that in a float. What writes a value answers with
;; 0 written, 1 nothing to write (undefined, a symbol, a function), 2 an exception is pending.
(module
  (import "engine" "memory" (memory 1))
  (import "engine" "wasm_malloc" (func $malloc (param i32) (result i32)))
  (import "engine" "wasm_free" (func $free (param i32)))
  (import "engine" "JS_DupValue" (func $JS_DupValue (param i32 i64) (result i64)))
  (import "engine" "JS_FreeValue" (func $JS_FreeValue (param i32 i64)))
  (import "engine" "JS_DupAtom" (func $JS_DupAtom (param i32 i32) (result i32)))
  (import "engine" "JS_FreeAtom" (func $JS_FreeAtom (param i32 i32)))
  (import "engine" "JS_ValueToAtom" (func $JS_ValueToAtom (param i32 i64) (result i32)))
  (import "engine" "JS_NewAtomUInt32" (func $JS_NewAtomUInt32 (param i32 i32) (result i32)))
  (import "engine" "JS_AtomToCStringLen" (func $JS_AtomToCStringLen (param i32 i32 i32) (result i32)))
  (import "engine" "JS_ToCStringLen2" (func $JS_ToCStringLen2 (param i32 i32 i64 i32) (result i32)))
  (import "engine" "JS_FreeCString" (func $JS_FreeCString (param i32 i32)))
  (import "engine" "JS_GetException" (func $JS_GetException (param i32) (result i64)))
  (import "engine" "JS_GetClassID" (func $JS_GetClassID (param i64) (result i32)))
  (import "engine" "JS_IsArray" (func $JS_IsArray (param i64) (result i32)))
  (import "engine" "JS_IsDate" (func $JS_IsDate (param i64) (result i32)))
  (import "engine" "JS_IsFunction" (func $JS_IsFunction (param i32 i64) (result i32)))
  (import "engine" "JS_GetProperty" (func $JS_GetProperty (param i32 i64 i32) (result i64)))
  (import "engine" "JS_GetPropertyInt64" (func $JS_GetPropertyInt64 (param i32 i64 i64) (result i64)))
  (import "engine" "JS_GetLength" (func $JS_GetLength (param i32 i64 i32) (result i32)))
  (import "engine" "JS_GetOwnPropertyNames" (func $JS_GetOwnPropertyNames (param i32 i32 i32 i64 i32) (result i32)))
  (import "engine" "JS_FreePropertyEnum" (func $JS_FreePropertyEnum (param i32 i32 i32)))
  (import "engine" "JS_NewObjectProto" (func $JS_NewObjectProto (param i32 i64) (result i64)))
  (import "engine" "JS_DefinePropertyValue" (func $JS_DefinePropertyValue (param i32 i64 i32 i64 i32) (result i32)))
  (import "engine" "JS_JSONStringify" (func $JS_JSONStringify (param i32 i64 i64 i64) (result i64)))
  (import "engine" "JS_Call" (func $JS_Call (param i32 i64 i64 i32 i32) (result i64)))
  (import "json" "buffer" (global $buffer (mut i32)))
  (import "json" "length" (global $length (mut i32)))
  (import "json" "room" (func $room (param i32)))
  (import "json" "end" (func $end (result i32)))
  (import "json" "close" (func $close (param i32)))
  (import "json" "put" (func $put (param i32)))
  (import "json" "put_word" (func $put_word (param i64 i32)))
  (import "json" "put_bytes" (func $put_bytes (param i32 i32)))
  (import "json" "put_null" (func $put_null))
  (import "json" "put_integer" (func $put_integer (param i64)))
  (import "json" "put_float" (func $put_float (param f64) (result i32)))
  (import "json" "put_time" (func $put_time (param f64) (result i32)))
  (import "json" "quote" (func $quote (param i32 i32)))

  (global $context (mut i32) (i32.const 0))
  ;; 1 while something is being written, for code of the author's may run then; and while a plugin is built.
  (global $busy (mut i32) (i32.const 1))
  ;; 256 keys as they are written, by the low byte of their atom: atom, bytes, length. 0 until the first.
  (global $keys (mut i32) (i32.const 0))
  ;; 128 bytes of ours: +0 and +8 what the engine hands out, +16 what is known, 16 bytes each.
  (global $scratch (mut i32) (i32.const 0))

  (func (export "busy") (result i32) (global.get $busy))
  (func (export "clear")
    (global.set $length (i32.const 0))
    (global.set $busy (i32.const 0)))

  ;; What the prelude finds before any code of the author's runs, to tell a Date or a BigInt that nobody has changed:
  ;; 0 toJSON, 1 toISOString, 2 @@toPrimitive, 3 valueOf of dates; 4 toJSON, 5 toString of bigints; 6 the empty key.
  (func (export "know") (param $context i32) (param $index i32) (param $key i64) (param $value i64)
    (local $at i32)
    (global.set $context (local.get $context))
    (if (i32.eqz (global.get $scratch)) (then (global.set $scratch (call $malloc (i32.const 128)))))
    (local.set $at (call $known (local.get $index)))
    (i32.store (local.get $at) (call $JS_ValueToAtom (local.get $context) (local.get $key)))
    (i64.store offset=8 (local.get $at) (call $JS_DupValue (local.get $context) (local.get $value))))
  (func $known (param $index i32) (result i32)
    (i32.add (global.get $scratch) (i32.shl (i32.add (local.get $index) (i32.const 1)) (i32.const 4))))

  ;; Whether a member of the value is still what was known. A getter that throws has changed it.
  (func $is_known (param $value i64) (param $index i32) (result i32)
    (local $at i32) (local $found i64)
    (local.set $at (call $known (local.get $index)))
    (local.set $found (call $JS_GetProperty (global.get $context) (local.get $value) (i32.load (local.get $at))))
    (if (i32.eq (call $tag (local.get $found)) (i32.const 6))
      (then (local.set $found (call $JS_GetException (global.get $context)))))
    (call $JS_FreeValue (global.get $context) (local.get $found))
    (i64.eq (local.get $found) (i64.load offset=8 (local.get $at))))

  ;; An object, and a newline behind it.
  (func (export "row") (param $value i64) (result i32)
    (local $from i32) (local $said i32)
    (if (i32.ne (call $tag (local.get $value)) (i32.const -1)) (then (return (i32.const 1))))
    (local.set $from (global.get $length))
    (local.set $said (call $value (local.get $value)))
    (if (local.get $said)
      (then (global.set $length (local.get $from)))
      (else (call $put (i32.const 0x0a))))
    (local.get $said))

  ;; Any value.
  (func $value (export "value") (param $value i64) (result i32)
    (local $said i32)
    (global.set $busy (i32.const 1))
    (local.set $said (call $write (local.get $value) (i32.load (call $known (i32.const 6))) (i32.const 0)))
    (global.set $busy (i32.const 0))
    (local.get $said))

  (func $tag (param $value i64) (result i32) (i32.wrap_i64 (i64.shr_u (local.get $value) (i64.const 32))))

  ;; `key` is what a toJSON would be told; `depth` how many objects and lists are around.
  (func $write (param $value i64) (param $key i32) (param $depth i32) (result i32)
    (local $tag i32)
    (local.set $tag (call $tag (local.get $value)))
    (if (i32.eqz (local.get $tag)) (then
      (call $put_integer (i64.extend_i32_s (i32.wrap_i64 (local.get $value))))
      (return (i32.const 0))))
    ;; Texts, also those that are still in parts.
    (if (i32.or (i32.eq (local.get $tag) (i32.const -7)) (i32.eq (local.get $tag) (i32.const -6)))
      (then (return (call $put_text (local.get $value) (i32.const 1)))))
    (if (i32.eq (local.get $tag) (i32.const -1))
      (then (return (call $put_object (local.get $value) (local.get $key) (local.get $depth)))))
    (if (i32.eq (local.get $tag) (i32.const 1)) (then
      (if (i32.wrap_i64 (local.get $value))
        (then (call $put_word (i64.const 0x65757274) (i32.const 4))) ;; "true"
        (else (call $put_word (i64.const 0x65736c6166) (i32.const 5)))) ;; "false"
      (return (i32.const 0))))
    (if (i32.eq (local.get $tag) (i32.const 2)) (then
      (call $put_null)
      (return (i32.const 0))))
    (if (i32.or (i32.eq (local.get $tag) (i32.const 3)) (i32.eq (local.get $tag) (i32.const -8)))
      (then (return (i32.const 1))))
    ;; Big integers, long and short.
    (if (i32.or (i32.eq (local.get $tag) (i32.const -9)) (i32.eq (local.get $tag) (i32.const 7))) (then
      (if (call $is_known (local.get $value) (i32.const 4)) (then
        (if (call $is_known (local.get $value) (i32.const 5))
          (then (return (call $put_text (local.get $value) (i32.const 0)))))))
      (return (call $by_engine (local.get $value) (local.get $key)))))
    ;; Floats are told from tags by an offset.
    (if (call $put_float (call $float (local.get $value))) (then (return (i32.const 0))))
    (call $put_text (local.get $value) (i32.const 0)))

  (func $float (param $value i64) (result f64)
    (f64.reinterpret_i64 (i64.add (local.get $value) (i64.const 0x7ff8000a00000000))))

  ;; The value's text, in quotes or bare.
  (func $put_text (param $value i64) (param $quoted i32) (result i32)
    (local $text i32)
    (local.set $text (call $JS_ToCStringLen2 (global.get $context) (global.get $scratch) (local.get $value)
      (i32.const 0)))
    (if (i32.eqz (local.get $text)) (then (return (i32.const 2))))
    (if (local.get $quoted)
      (then (call $quote (local.get $text) (i32.load (global.get $scratch))))
      (else (call $put_bytes (local.get $text) (i32.load (global.get $scratch)))))
    (call $JS_FreeCString (global.get $context) (local.get $text))
    (i32.const 0))

  ;; What refers to itself is the engine's too once it is deep enough, and refused there.
  (func $put_object (param $value i64) (param $key i32) (param $depth i32) (result i32)
    (local $own i64) (local $is_list i32) (local $is_plain i32)
    (if (call $JS_IsDate (local.get $value)) (then (return (call $put_date (local.get $value) (local.get $key)))))
    (local.set $is_list (call $JS_IsArray (local.get $value)))
    ;; Class 1 is every object that is nothing particular.
    (local.set $is_plain (i32.and
      (i32.or (local.get $is_list) (i32.eq (call $JS_GetClassID (local.get $value)) (i32.const 1)))
      (i32.lt_u (local.get $depth) (i32.const 32))))
    (if (local.get $is_plain) (then
      (local.set $own (call $JS_GetProperty (global.get $context) (local.get $value)
        (i32.load (call $known (i32.const 0)))))
      (if (i32.eq (call $tag (local.get $own)) (i32.const 6)) (then (return (i32.const 2))))
      (if (i32.eq (call $tag (local.get $own)) (i32.const -1)) (then
        (local.set $is_plain (i32.eqz (call $JS_IsFunction (global.get $context) (local.get $own))))))
      (call $JS_FreeValue (global.get $context) (local.get $own))))
    (if (i32.eqz (local.get $is_plain)) (then (return (call $by_engine (local.get $value) (local.get $key)))))
    (local.set $depth (i32.add (local.get $depth) (i32.const 1)))
    (if (local.get $is_list) (then (return (call $put_list (local.get $value) (local.get $depth)))))
    (call $put_members (local.get $value) (local.get $depth)))

  (func $put_members (param $value i64) (param $depth i32) (result i32)
    (local $table i32) (local $count i32) (local $at i32) (local $key i32) (local $member i64) (local $said i32)
    (local $from i32)
    ;; Enumerable, and named by a text.
    (if (call $JS_GetOwnPropertyNames (global.get $context) (global.get $scratch)
          (i32.add (global.get $scratch) (i32.const 8)) (local.get $value) (i32.const 17))
      (then (return (i32.const 2))))
    (local.set $table (i32.load (global.get $scratch)))
    (local.set $count (i32.load offset=8 (global.get $scratch)))
    (call $put (i32.const 0x7b))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $at) (local.get $count)))
      (local.set $key (i32.load offset=4 (i32.add (local.get $table) (i32.shl (local.get $at) (i32.const 3)))))
      (local.set $member (call $JS_GetProperty (global.get $context) (local.get $value) (local.get $key)))
      (local.set $said (i32.const 2))
      (br_if $done (i32.eq (call $tag (local.get $member)) (i32.const 6)))
      (local.set $from (global.get $length))
      (local.set $said (call $put_key (local.get $key)))
      (if (i32.eqz (local.get $said)) (then
        (local.set $said (call $write (local.get $member) (local.get $key) (local.get $depth)))))
      (call $JS_FreeValue (global.get $context) (local.get $member))
      (br_if $done (i32.eq (local.get $said) (i32.const 2)))
      (if (local.get $said)
        (then (global.set $length (local.get $from)))
        (else (call $put (i32.const 0x2c))))
      (local.set $said (i32.const 0))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $next)))
    (call $JS_FreePropertyEnum (global.get $context) (local.get $table) (local.get $count))
    (if (i32.eqz (local.get $said)) (then (call $close (i32.const 0x7d))))
    (local.get $said))

  ;; A key and its colon. Rows have the same keys again and again: the last of each slot is kept as it is written.
  (func $put_key (param $key i32) (result i32)
    (local $slot i32) (local $from i32) (local $text i32)
    (if (i32.eqz (global.get $keys)) (then
      (global.set $keys (call $malloc (i32.const 3072)))
      (if (i32.eqz (global.get $keys)) (then (unreachable)))
      (memory.fill (global.get $keys) (i32.const 0) (i32.const 3072))))
    (local.set $slot (i32.add (global.get $keys)
      (i32.mul (i32.and (local.get $key) (i32.const 255)) (i32.const 12))))
    (if (i32.eq (i32.load (local.get $slot)) (local.get $key)) (then
      (call $put_bytes (i32.load offset=4 (local.get $slot)) (i32.load offset=8 (local.get $slot)))
      (return (i32.const 0))))
    (local.set $text (call $JS_AtomToCStringLen (global.get $context) (global.get $scratch) (local.get $key)))
    (if (i32.eqz (local.get $text)) (then (return (i32.const 2))))
    (local.set $from (global.get $length))
    (call $quote (local.get $text) (i32.load (global.get $scratch)))
    (call $JS_FreeCString (global.get $context) (local.get $text))
    (call $put (i32.const 0x3a))
    (call $keep_key (local.get $slot) (local.get $key) (local.get $from))
    (i32.const 0))

  ;; Of what was written since `from`. A kept atom is held, so that its number is not another key's one day.
  (func $keep_key (param $slot i32) (param $key i32) (param $from i32)
    (local $count i32) (local $bytes i32)
    (local.set $count (i32.sub (global.get $length) (local.get $from)))
    (if (i32.gt_u (local.get $count) (i32.const 128)) (then (return)))
    (local.set $bytes (call $malloc (local.get $count)))
    (if (i32.eqz (local.get $bytes)) (then (unreachable)))
    (memory.copy (local.get $bytes) (i32.add (global.get $buffer) (local.get $from)) (local.get $count))
    (if (i32.load (local.get $slot)) (then
      (call $JS_FreeAtom (global.get $context) (i32.load (local.get $slot)))
      (call $free (i32.load offset=4 (local.get $slot)))))
    (i32.store (local.get $slot) (call $JS_DupAtom (global.get $context) (local.get $key)))
    (i32.store offset=4 (local.get $slot) (local.get $bytes))
    (i32.store offset=8 (local.get $slot) (local.get $count)))

  (func $put_list (param $value i64) (param $depth i32) (result i32)
    (local $count i64) (local $at i64) (local $item i64) (local $key i32) (local $said i32)
    (if (call $JS_GetLength (global.get $context) (local.get $value) (global.get $scratch))
      (then (return (i32.const 2))))
    (local.set $count (i64.load (global.get $scratch)))
    (call $put (i32.const 0x5b))
    (block $done (loop $next
      (br_if $done (i64.ge_s (local.get $at) (local.get $count)))
      (local.set $item (call $JS_GetPropertyInt64 (global.get $context) (local.get $value) (local.get $at)))
      (if (i32.eq (call $tag (local.get $item)) (i32.const 6)) (then (return (i32.const 2))))
      (local.set $key (call $JS_NewAtomUInt32 (global.get $context) (i32.wrap_i64 (local.get $at))))
      (local.set $said (call $write (local.get $item) (local.get $key) (local.get $depth)))
      (call $JS_FreeAtom (global.get $context) (local.get $key))
      (call $JS_FreeValue (global.get $context) (local.get $item))
      (if (i32.eq (local.get $said) (i32.const 2)) (then (return (i32.const 2))))
      (if (local.get $said) (then (call $put_null)))
      (call $put (i32.const 0x2c))
      (local.set $at (i64.add (local.get $at) (i64.const 1)))
      (br $next)))
    (call $close (i32.const 0x5d))
    (i32.const 0))

  ;; A Date as its own toJSON would have it, as long as everything that toJSON asks is the engine's own.
  (func $put_date (param $value i64) (param $key i32) (result i32)
    (local $index i32) (local $time i64) (local $ms f64)
    (block $changed
      (loop $next
        (br_if $changed (i32.eqz (call $is_known (local.get $value) (local.get $index))))
        (local.set $index (i32.add (local.get $index) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $index) (i32.const 4))))
      (local.set $time (call $JS_Call (global.get $context) (i64.load offset=8 (call $known (i32.const 3)))
        (local.get $value) (i32.const 0) (i32.const 0)))
      (local.set $ms (call $float (local.get $time)))
      (if (i32.eqz (call $tag (local.get $time)))
        (then (local.set $ms (f64.convert_i32_s (i32.wrap_i64 (local.get $time))))))
      (if (f64.ne (local.get $ms) (local.get $ms)) (then
        (call $put_null)
        (return (i32.const 0))))
      (if (call $put_time (local.get $ms)) (then (return (i32.const 0)))))
    (call $by_engine (local.get $value) (local.get $key)))

  ;; What JSON.stringify writes for a value under a key: it is asked for an object of this one member, without its key.
  (func $by_engine (param $value i64) (param $key i32) (result i32)
    (local $holder i64) (local $json i64) (local $text i32) (local $count i32) (local $at i32)
    (local.set $holder (call $JS_NewObjectProto (global.get $context) (i64.const 0x200000000))) ;; null
    (if (i32.eq (call $tag (local.get $holder)) (i32.const 6)) (then (return (i32.const 2))))
    (if (i32.lt_s (call $JS_DefinePropertyValue (global.get $context) (local.get $holder) (local.get $key)
          (call $JS_DupValue (global.get $context) (local.get $value)) (i32.const 7)) (i32.const 0))
      (then
        (call $JS_FreeValue (global.get $context) (local.get $holder))
        (return (i32.const 2))))
    (local.set $json (call $JS_JSONStringify (global.get $context) (local.get $holder) (i64.const 0x300000000)
      (i64.const 0x300000000)))
    (call $JS_FreeValue (global.get $context) (local.get $holder))
    (if (i32.eq (call $tag (local.get $json)) (i32.const 6)) (then (return (i32.const 2))))
    (local.set $text (call $JS_ToCStringLen2 (global.get $context) (global.get $scratch) (local.get $json)
      (i32.const 0)))
    (local.set $count (i32.load (global.get $scratch)))
    (call $JS_FreeValue (global.get $context) (local.get $json))
    (if (i32.eqz (local.get $text)) (then (return (i32.const 2))))
    (if (i32.gt_u (local.get $count) (i32.const 2)) (then
      ;; Behind the brace and the quote; to the quote that ends the key, and the colon.
      (local.set $at (i32.add (local.get $text) (i32.const 2)))
      (block $found (loop $next
        (br_if $found (i32.eq (i32.load8_u (local.get $at)) (i32.const 0x22)))
        (if (i32.eq (i32.load8_u (local.get $at)) (i32.const 0x5c))
          (then (local.set $at (i32.add (local.get $at) (i32.const 1)))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
      (local.set $at (i32.add (local.get $at) (i32.const 2)))
      (call $put_bytes (local.get $at)
        (i32.sub (i32.add (local.get $text) (i32.sub (local.get $count) (i32.const 1))) (local.get $at)))))
    (call $JS_FreeCString (global.get $context) (local.get $text))
    (i32.le_u (local.get $count) (i32.const 2))))
