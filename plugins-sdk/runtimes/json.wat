;; A buffer that JSON is written into: numbers, texts, times. It knows nothing of the interpreter but its memory.
(module
  (import "engine" "memory" (memory 1))
  (import "engine" "malloc" (func $malloc (param i32) (result i32)))
  (import "engine" "free" (func $free (param i32)))

  (global $buffer (export "buffer") (mut i32) (i32.const 0))
  (global $length (export "length") (mut i32) (i32.const 0))
  (global $capacity (mut i32) (i32.const 0))
  ;; The day since 1970 that was written last, as three numbers; no day is so late.
  (global $day (mut i32) (i32.const 0x7fffffff))
  (global $year (mut i32) (i32.const 0))
  (global $month (mut i32) (i32.const 0))
  (global $date (mut i32) (i32.const 0))

  ;; Room for so many more bytes. Memory that cannot grow is a trap, as everywhere in the glue.
  (func $room (export "room") (param $more i32)
    (local $needed i32) (local $to i32)
    (local.set $needed (i32.add (global.get $length) (local.get $more)))
    (if (i32.le_u (local.get $needed) (global.get $capacity)) (then (return)))
    ;; Twice as much as is needed while that is little; of much, a quarter more.
    (local.set $needed (i32.add (i32.add (local.get $needed) (i32.const 1024))
      (select (local.get $needed) (i32.shr_u (local.get $needed) (i32.const 2))
        (i32.lt_u (local.get $needed) (i32.const 1048576)))))
    (local.set $to (call $malloc (local.get $needed)))
    (if (i32.eqz (local.get $to)) (then (unreachable)))
    (memory.copy (local.get $to) (global.get $buffer) (global.get $length))
    (if (global.get $buffer) (then (call $free (global.get $buffer))))
    (global.set $buffer (local.get $to))
    (global.set $capacity (local.get $needed)))

  (func $end (export "end") (result i32) (i32.add (global.get $buffer) (global.get $length)))
  (func $wrote (param $count i32) (global.set $length (i32.add (global.get $length) (local.get $count))))
  (func $put (export "put") (param $byte i32)
    (call $room (i32.const 1))
    (i32.store8 (call $end) (local.get $byte))
    (call $wrote (i32.const 1)))
  ;; Up to eight characters, the first in the lowest byte.
  (func $put_word (export "put_word") (param $word i64) (param $count i32)
    (call $room (i32.const 8))
    (i64.store (call $end) (local.get $word))
    (call $wrote (local.get $count)))
  (func (export "put_bytes") (param $from i32) (param $count i32)
    (call $room (local.get $count))
    (memory.copy (call $end) (local.get $from) (local.get $count))
    (call $wrote (local.get $count)))
  (func $put_null (export "put_null") (call $put_word (i64.const 0x6c6c756e) (i32.const 4))) ;; "null"
  ;; In the place of the last comma, if there is one.
  (func (export "close") (param $bracket i32)
    (if (i32.eq (i32.load8_u (i32.sub (call $end) (i32.const 1))) (i32.const 0x2c))
      (then (call $wrote (i32.const -1))))
    (call $put (local.get $bracket)))

  (func $put_integer (export "put_integer") (param $number i64)
    (local $digits i32) (local $rest i64) (local $at i32)
    (call $room (i32.const 24))
    (if (i64.lt_s (local.get $number) (i64.const 0)) (then
      (call $put (i32.const 0x2d))
      (local.set $number (i64.sub (i64.const 0) (local.get $number)))))
    (local.set $rest (local.get $number))
    (loop $count
      (local.set $digits (i32.add (local.get $digits) (i32.const 1)))
      (local.set $rest (i64.div_u (local.get $rest) (i64.const 10)))
      (br_if $count (i64.ne (local.get $rest) (i64.const 0))))
    (local.set $at (i32.add (call $end) (local.get $digits)))
    (call $wrote (local.get $digits))
    (loop $digit
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at)
        (i32.add (i32.const 0x30) (i32.wrap_i64 (i64.rem_u (local.get $number) (i64.const 10)))))
      (local.set $number (i64.div_u (local.get $number) (i64.const 10)))
      (br_if $digit (i64.ne (local.get $number) (i64.const 0)))))

  ;; 1 when the number was written. A decimal of at most 15 digits is the only one so short that gives its double, so it
  ;; is what JavaScript writes too: those with up to six places behind the point are found by trying.
  (func (export "put_float") (param $x f64) (result i32)
    (local $scale f64) (local $scaled f64) (local $places i32)
    (if (f64.ne (f64.sub (local.get $x) (local.get $x)) (f64.const 0)) (then
      (call $put_null)
      (return (i32.const 1))))
    (local.set $scale (f64.const 1))
    (loop $try
      (local.set $scaled (f64.nearest (f64.mul (local.get $x) (local.get $scale))))
      (if (i32.and
            (f64.eq (f64.div (local.get $scaled) (local.get $scale)) (local.get $x))
            (f64.lt (f64.abs (local.get $scaled)) (f64.const 1e15)))
        (then
          (call $put_decimal (i64.trunc_f64_s (local.get $scaled)) (local.get $places))
          (return (i32.const 1))))
      (local.set $scale (f64.mul (local.get $scale) (f64.const 10)))
      (local.set $places (i32.add (local.get $places) (i32.const 1)))
      (br_if $try (i32.le_u (local.get $places) (i32.const 6))))
    (i32.const 0))

  ;; `number` with the point before its last `places` digits.
  (func $put_decimal (param $number i64) (param $places i32)
    (local $from i32) (local $digits i32) (local $zeros i32) (local $point i32)
    (if (i64.lt_s (local.get $number) (i64.const 0)) (then
      (call $put (i32.const 0x2d))
      (local.set $number (i64.sub (i64.const 0) (local.get $number)))))
    (local.set $from (global.get $length))
    (call $put_integer (local.get $number))
    (if (i32.eqz (local.get $places)) (then (return)))
    (call $room (i32.const 8))
    (local.set $digits (i32.sub (global.get $length) (local.get $from)))
    ;; At least one digit before the point: zeros come in front.
    (if (i32.le_u (local.get $digits) (local.get $places)) (then
      (local.set $zeros (i32.add (i32.sub (local.get $places) (local.get $digits)) (i32.const 1)))
      (local.set $from (i32.add (global.get $buffer) (local.get $from)))
      (memory.copy (i32.add (local.get $from) (local.get $zeros)) (local.get $from) (local.get $digits))
      (memory.fill (local.get $from) (i32.const 0x30) (local.get $zeros))
      (call $wrote (local.get $zeros))))
    (local.set $point (i32.sub (call $end) (local.get $places)))
    (memory.copy (i32.add (local.get $point) (i32.const 1)) (local.get $point) (local.get $places))
    (i32.store8 (local.get $point) (i32.const 0x2e))
    (call $wrote (i32.const 1)))

  ;; UTF-8 in quotes: eight bytes at a time while none of them is special. Lone surrogates come as three bytes.
  (func (export "quote") (param $from i32) (param $count i32)
    (local $word i64) (local $byte i32)
    (call $room (i32.add (local.get $count) (i32.const 10)))
    (call $put (i32.const 0x22))
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $count)))
      (local.set $byte (select (local.get $count) (i32.const 8) (i32.lt_u (local.get $count) (i32.const 8))))
      (local.set $word (call $some (local.get $from) (local.get $byte)))
      (if (i64.eqz (call $special (local.get $word))) (then
        (call $put_word (local.get $word) (local.get $byte))
        (local.set $from (i32.add (local.get $from) (local.get $byte)))
        (local.set $count (i32.sub (local.get $count) (local.get $byte)))
        (br $next)))
      ;; One of them, by itself; the others are looked at again.
      (local.set $byte (i32.load8_u (local.get $from)))
      (if (i32.and (i32.eq (local.get $byte) (i32.const 0xed))
            (i32.ge_u (i32.load8_u offset=1 (local.get $from)) (i32.const 0xa0)))
        (then
          (call $put_escape (i32.or (i32.const 0xd000) (i32.or
            (i32.shl (i32.and (i32.load8_u offset=1 (local.get $from)) (i32.const 0x3f)) (i32.const 6))
            (i32.and (i32.load8_u offset=2 (local.get $from)) (i32.const 0x3f)))))
          (local.set $from (i32.add (local.get $from) (i32.const 3)))
          (local.set $count (i32.sub (local.get $count) (i32.const 3)))
          (br $next)))
      (call $put_character (local.get $byte))
      (local.set $from (i32.add (local.get $from) (i32.const 1)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br $next)))
    (call $put (i32.const 0x22)))

  ;; Eight bytes, of which only the first `count` are text and the others blanks. At the very end of the memory they are
  ;; all special, so that each is looked at by itself.
  (func $some (param $from i32) (param $count i32) (result i64)
    (local $mask i64)
    (if (i32.eq (local.get $count) (i32.const 8)) (then (return (i64.load (local.get $from)))))
    (if (i32.gt_u (i32.add (local.get $from) (i32.const 8)) (i32.shl (memory.size) (i32.const 16)))
      (then (return (i64.const 0))))
    (local.set $mask
      (i64.shr_u (i64.const -1) (i64.shl (i64.extend_i32_u (i32.sub (i32.const 8) (local.get $count))) (i64.const 3))))
    (i64.or
      (i64.and (i64.load (local.get $from)) (local.get $mask))
      (i64.and (i64.const 0x2020202020202020) (i64.xor (local.get $mask) (i64.const -1)))))

  ;; Not 0 when one of the eight bytes may be a control character, a quote, a backslash or 0xED.
  (func $special (param $word i64) (result i64)
    (i64.and (i64.const 0x8080808080808080) (i64.or
      (i64.or
        (i64.and (i64.sub (local.get $word) (i64.const 0x2020202020202020)) (i64.xor (local.get $word) (i64.const -1)))
        (call $zeros (i64.xor (local.get $word) (i64.const 0x2222222222222222))))
      (i64.or
        (call $zeros (i64.xor (local.get $word) (i64.const 0x5c5c5c5c5c5c5c5c)))
        (call $zeros (i64.xor (local.get $word) (i64.const 0xedededededededed)))))))
  (func $zeros (param $word i64) (result i64)
    (i64.and (i64.sub (local.get $word) (i64.const 0x0101010101010101)) (i64.xor (local.get $word) (i64.const -1))))

  ;; A byte of a text, escaped where JSON wants it.
  (func $put_character (param $byte i32)
    (local $letter i32)
    (if (i32.eq (local.get $byte) (i32.const 0x22)) (then (local.set $letter (i32.const 0x22))))
    (if (i32.eq (local.get $byte) (i32.const 0x5c)) (then (local.set $letter (i32.const 0x5c))))
    (if (i32.eq (local.get $byte) (i32.const 8)) (then (local.set $letter (i32.const 0x62))))
    (if (i32.eq (local.get $byte) (i32.const 9)) (then (local.set $letter (i32.const 0x74))))
    (if (i32.eq (local.get $byte) (i32.const 10)) (then (local.set $letter (i32.const 0x6e))))
    (if (i32.eq (local.get $byte) (i32.const 12)) (then (local.set $letter (i32.const 0x66))))
    (if (i32.eq (local.get $byte) (i32.const 13)) (then (local.set $letter (i32.const 0x72))))
    (if (local.get $letter) (then
      (call $put (i32.const 0x5c))
      (call $put (local.get $letter))
      (return)))
    (if (i32.lt_u (local.get $byte) (i32.const 0x20))
      (then (call $put_escape (local.get $byte)))
      (else (call $put (local.get $byte)))))

  ;; A UTF-16 unit by its number.
  (func $put_escape (param $unit i32)
    (local $shift i32) (local $digit i32)
    (call $put_word (i64.const 0x755c) (i32.const 2))
    (local.set $shift (i32.const 12))
    (loop $next
      (local.set $digit (i32.and (i32.shr_u (local.get $unit) (local.get $shift)) (i32.const 15)))
      (call $put (i32.add (local.get $digit)
        (select (i32.const 0x57) (i32.const 0x30) (i32.gt_u (local.get $digit) (i32.const 9)))))
      (local.set $shift (i32.sub (local.get $shift) (i32.const 4)))
      (br_if $next (i32.ge_s (local.get $shift) (i32.const 0)))))

  ;; Two digits and what stands behind them.
  (func $put_pair (param $number i32) (param $then i32)
    (call $put_word
      (i64.extend_i32_u (i32.or
        (i32.or
          (i32.add (i32.const 0x30) (i32.div_u (local.get $number) (i32.const 10)))
          (i32.shl (i32.add (i32.const 0x30) (i32.rem_u (local.get $number) (i32.const 10))) (i32.const 8)))
        (i32.shl (local.get $then) (i32.const 16))))
      (i32.const 3)))

  ;; Whole milliseconds since 1970 as toISOString has them, in quotes; 1 when they were written: in the years 0 to 9999.
  (func (export "put_time") (param $time f64) (result i32)
    (local $ms i64) (local $day i32)
    (if (i32.eqz (i32.and
          (f64.ge (local.get $time) (f64.const -62167219200000))
          (f64.lt (local.get $time) (f64.const 253402300800000))))
      (then (return (i32.const 0))))
    ;; Counted from 1 March of the year -400, so that nothing is below 0 and a year ends with its leap day.
    (local.set $ms (i64.add (i64.trunc_f64_s (local.get $time)) (i64.const 74784816000000)))
    (local.set $day (i32.wrap_i64 (i64.div_u (local.get $ms) (i64.const 86400000))))
    (if (i32.ne (local.get $day) (global.get $day)) (then (call $find_day (local.get $day))))
    (local.set $day (i32.wrap_i64 (i64.rem_u (local.get $ms) (i64.const 86400000))))
    (call $put (i32.const 0x22))
    (call $put_pair (i32.div_u (global.get $year) (i32.const 100)) (i32.const 0))
    (global.set $length (i32.sub (global.get $length) (i32.const 1)))
    (call $put_pair (i32.rem_u (global.get $year) (i32.const 100)) (i32.const 0x2d))
    (call $put_pair (global.get $month) (i32.const 0x2d))
    (call $put_pair (global.get $date) (i32.const 0x54))
    (call $put_pair (i32.div_u (local.get $day) (i32.const 3600000)) (i32.const 0x3a))
    (call $put_pair (i32.rem_u (i32.div_u (local.get $day) (i32.const 60000)) (i32.const 60)) (i32.const 0x3a))
    (call $put_pair (i32.rem_u (i32.div_u (local.get $day) (i32.const 1000)) (i32.const 60)) (i32.const 0x2e))
    (local.set $day (i32.rem_u (local.get $day) (i32.const 1000)))
    (call $put (i32.add (i32.const 0x30) (i32.div_u (local.get $day) (i32.const 100))))
    (call $put_pair (i32.rem_u (local.get $day) (i32.const 100)) (i32.const 0x5a))
    (call $put (i32.const 0x22))
    (i32.const 1))

  ;; Howard Hinnant's civil_from_days, in eras of 400 years.
  (func $find_day (param $day i32)
    (local $of_era i32) (local $year i32) (local $of_year i32) (local $month i32)
    (global.set $day (local.get $day))
    (local.set $of_era (i32.rem_u (local.get $day) (i32.const 146097)))
    (local.set $year (i32.div_u
      (i32.sub
        (i32.add
          (i32.sub (local.get $of_era) (i32.div_u (local.get $of_era) (i32.const 1460)))
          (i32.div_u (local.get $of_era) (i32.const 36524)))
        (i32.div_u (local.get $of_era) (i32.const 146096)))
      (i32.const 365)))
    (local.set $of_year (i32.sub (local.get $of_era)
      (i32.sub
        (i32.add (i32.mul (local.get $year) (i32.const 365)) (i32.div_u (local.get $year) (i32.const 4)))
        (i32.div_u (local.get $year) (i32.const 100)))))
    (local.set $month (i32.div_u (i32.add (i32.mul (local.get $of_year) (i32.const 5)) (i32.const 2)) (i32.const 153)))
    (global.set $date (i32.add (i32.const 1) (i32.sub (local.get $of_year)
      (i32.div_u (i32.add (i32.mul (local.get $month) (i32.const 153)) (i32.const 2)) (i32.const 5)))))
    (global.set $month (i32.add (local.get $month)
      (select (i32.const 3) (i32.const -9) (i32.lt_u (local.get $month) (i32.const 10)))))
    (global.set $year (i32.add
      (i32.sub
        (i32.add (local.get $year) (i32.mul (i32.div_u (local.get $day) (i32.const 146097)) (i32.const 400)))
        (i32.const 400))
      (i32.le_u (global.get $month) (i32.const 2))))))
