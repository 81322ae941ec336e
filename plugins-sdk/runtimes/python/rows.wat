;; Rows as JSON, from dicts whose members are texts, numbers, truth and nothing: the rows that most plugins have.
;; Others are Python's to write. Values are read as the interpreter shows them to JavaScript.
(module
  (import "engine" "memory" (memory 1))
  (import "engine" "proxy_convert_mp_to_js_obj_cside" (func $convert (param i32 i32)))
  (import "engine" "proxy_c_free_obj" (func $forget (param i32)))
  (import "json" "buffer" (global $buffer (mut i32)))
  (import "json" "length" (global $length (mut i32)))
  (import "json" "close" (func $close (param i32)))
  (import "json" "put" (func $put (param i32)))
  (import "json" "put_word" (func $put_word (param i64 i32)))
  (import "json" "put_bytes" (func $put_bytes (param i32 i32)))
  (import "json" "put_null" (func $put_null))
  (import "json" "put_integer" (func $put_integer (param i64)))
  (import "json" "put_float" (func $put_float (param f64) (result i32)))
  (import "json" "quote" (func $quote (param i32 i32)))

  ;; The type of an object that was shown last and that is not written here; none is at -1.
  (global $unwritten (mut i32) (i32.const -1))

  ;; A value as the glue has it: JSON (5), or the address of a dict (3); and the character behind it. `scratch` is 16
  ;; bytes for what the interpreter shows. 1: it is written; 0: it is not.
  (func (export "row") (param $value i32) (param $behind i32) (param $scratch i32) (result i32)
    (local $from i32) (local $written i32)
    (local.set $from (global.get $length))
    (if (i32.eq (i32.load (local.get $value)) (i32.const 5)) (then
      (call $put_bytes (i32.load offset=8 (local.get $value)) (i32.load offset=4 (local.get $value)))
      (call $put (local.get $behind))
      (return (i32.const 1))))
    (local.set $written (call $members (i32.load offset=4 (local.get $value)) (local.get $scratch)))
    (if (local.get $written)
      (then (call $put (local.get $behind)))
      (else (global.set $length (local.get $from))))
    (local.get $written))

  ;; A dict is its type, a word of marks, how many places its table has, and the table: keys with their values.
  (func $members (param $dict i32) (param $scratch i32) (result i32)
    (local $at i32) (local $end i32) (local $key i32)
    (local.set $at (i32.load offset=12 (local.get $dict)))
    (local.set $end (i32.add (local.get $at) (i32.shl (i32.load offset=8 (local.get $dict)) (i32.const 3))))
    (call $put (i32.const 0x7b))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
      (local.set $key (i32.load (local.get $at)))
      ;; 0 stands where no key is, 8 where none is any more.
      (if (i32.and (local.get $key) (i32.const -9)) (then
        (call $convert (local.get $key) (local.get $scratch))
        (if (i32.eqz (call $is_text (local.get $key) (local.get $scratch))) (then (return (i32.const 0))))
        (call $quote (i32.load offset=8 (local.get $scratch)) (i32.load offset=4 (local.get $scratch)))
        (call $put (i32.const 0x3a))
        (if (i32.eqz (call $member (i32.load offset=4 (local.get $at)) (local.get $scratch)))
          (then (return (i32.const 0))))
        (call $put (i32.const 0x2c))))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br $next)))
    (call $close (i32.const 0x7d))
    (i32.const 1))

  ;; Whether what was shown is a text. What the interpreter keeps for JavaScript is given back, and its type remembered.
  (func $is_text (param $object i32) (param $shown i32) (result i32)
    (if (i32.eq (i32.load (local.get $shown)) (i32.const 5)) (then (return (i32.const 1))))
    (if (i32.and
          (i32.ge_u (i32.load (local.get $shown)) (i32.const 6))
          (i32.le_u (i32.load (local.get $shown)) (i32.const 8)))
      (then
        (global.set $unwritten (i32.load (local.get $object)))
        (call $forget (i32.load offset=4 (local.get $shown)))))
    (i32.const 0))

  (func $member (param $object i32) (param $scratch i32) (result i32)
    (local $kind i32) (local $from i32)
    ;; A small number is the object itself, shifted by its mark.
    (if (i32.and (local.get $object) (i32.const 1)) (then
      (call $put_integer (i64.extend_i32_s (i32.shr_s (local.get $object) (i32.const 1))))
      (return (i32.const 1))))
    ;; An address begins with that of its type.
    (if (i32.eqz (i32.and (local.get $object) (i32.const 3))) (then
      (if (i32.eq (i32.load (local.get $object)) (global.get $unwritten)) (then (return (i32.const 0))))))
    (call $convert (local.get $object) (local.get $scratch))
    (if (call $is_text (local.get $object) (local.get $scratch)) (then
      (call $quote (i32.load offset=8 (local.get $scratch)) (i32.load offset=4 (local.get $scratch)))
      (return (i32.const 1))))
    (local.set $kind (i32.load (local.get $scratch)))
    (if (i32.eq (local.get $kind) (i32.const 1)) (then
      (call $put_null)
      (return (i32.const 1))))
    (if (i32.eq (local.get $kind) (i32.const 2)) (then
      (if (i32.load offset=4 (local.get $scratch))
        (then (call $put_word (i64.const 0x65757274) (i32.const 4))) ;; "true"
        (else (call $put_word (i64.const 0x65736c6166) (i32.const 5)))) ;; "false"
      (return (i32.const 1))))
    ;; A larger whole number is shown cut off: it is read as it lies.
    (if (i32.eq (local.get $kind) (i32.const 3)) (then (return (call $put_large (local.get $object)))))
    (if (i32.ne (local.get $kind) (i32.const 4)) (then (return (i32.const 0))))
    (local.set $from (global.get $length))
    (if (i32.eqz (call $put_float (f64.load offset=4 (local.get $scratch)))) (then (return (i32.const 0))))
    (call $mark_float (local.get $from))
    (i32.const 1))

  ;; A number of up to 63 bits: its type, a word whose lowest bit is the sign, how many digits of 16 bits it has, and
  ;; where they are, the lowest first.
  (func $put_large (param $object i32) (result i32)
    (local $digits i32) (local $count i32) (local $number i64)
    (local.set $count (i32.load offset=8 (local.get $object)))
    (local.set $digits (i32.load offset=12 (local.get $object)))
    (if (i32.gt_u (local.get $count) (i32.const 4)) (then (return (i32.const 0))))
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $count)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (local.set $number (i64.or (i64.shl (local.get $number) (i64.const 16))
        (i64.load16_u (i32.add (local.get $digits) (i32.shl (local.get $count) (i32.const 1))))))
      (br $next)))
    (if (i64.lt_s (local.get $number) (i64.const 0)) (then (return (i32.const 0))))
    (if (i32.and (i32.load offset=4 (local.get $object)) (i32.const 1))
      (then (local.set $number (i64.sub (i64.const 0) (local.get $number)))))
    (call $put_integer (local.get $number))
    (i32.const 1))

  ;; A float says so also when it is whole, as Python has it: `1.0`.
  (func $mark_float (param $from i32)
    (local $at i32)
    (local.set $at (i32.add (global.get $buffer) (local.get $from)))
    (if (i32.eq (i32.load8_u (local.get $at)) (i32.const 0x6e)) (then (return)))
    (loop $next
      (if (i32.eq (i32.load8_u (local.get $at)) (i32.const 0x2e)) (then (return)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (i32.add (global.get $buffer) (global.get $length)))))
    (call $put_word (i64.const 0x302e) (i32.const 2))))
