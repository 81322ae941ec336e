;; One look at NDJSON, sixteen bytes at a time: how many lines end, and whether something is in it that has to be looked
;; into. The bytes begin at 0, and at least 32 zeros follow them.
(module
  (memory (export "memory") 1)

  ;; Flags: 1 a line may be blank; 2 nineteen digits in a row; 4 a text that ends in a time of day.
  (global $flags (mut i32) (i32.const 0))
  (func (export "flags") (result i32) (global.get $flags))

  (func $digit (param $at i32) (result i32)
    (i32.lt_u (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)) (i32.const 10)))

  ;; Whether a text ends behind `0:30`, of which $at is the byte after: `.5` and one blank may come before the quote.
  (func $ends (param $at i32) (result i32)
    (if (i32.and
          (i32.eq (i32.load8_u (local.get $at)) (i32.const 46))
          (call $digit (i32.add (local.get $at) (i32.const 1))))
      (then
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (loop $more
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br_if $more (call $digit (local.get $at))))))
    (if (i32.le_u (i32.load8_u (local.get $at)) (i32.const 32))
      (then (local.set $at (i32.add (local.get $at) (i32.const 1)))))
    (i32.eq (i32.load8_u (local.get $at)) (i32.const 34)))

  ;; Returns how many newlines there are.
  (func (export "scan") (param $length i32) (result i32)
    (local $at i32) (local $lines i32) (local $v v128)
    (local $newlines i32) (local $digits i32) (local $blanks i32) (local $run i32) (local $lead i32)
    (local $blank_before i32) (local $all_digits i32) (local $all_colons i32) (local $clocks i32) (local $flagged i32)
    ;; What is before the first byte counts as blank: a newline there ends an empty line.
    (local.set $blank_before (i32.const 1))
    (block $done
      (loop $next
        ;; One look beyond the end, for clocks that lie across it.
        (br_if $done (i32.ge_u (local.get $at) (i32.add (local.get $length) (i32.const 16))))
        (local.set $v (v128.load (local.get $at)))

        (local.set $newlines (i8x16.bitmask (i8x16.eq (local.get $v) (i8x16.splat (i32.const 10)))))
        (local.set $blanks (i8x16.bitmask (i8x16.le_u (local.get $v) (i8x16.splat (i32.const 32)))))
        (local.set $lines (i32.add (local.get $lines) (i32.popcnt (local.get $newlines))))
        (if (i32.and
              (local.get $newlines)
              (i32.or (i32.shl (local.get $blanks) (i32.const 1)) (local.get $blank_before)))
          (then (local.set $flagged (i32.or (local.get $flagged) (i32.const 1)))))
        (local.set $blank_before (i32.shr_u (local.get $blanks) (i32.const 15)))

        (local.set $digits
          (i8x16.bitmask
            (i8x16.lt_u (i8x16.sub (local.get $v) (i8x16.splat (i32.const 48))) (i8x16.splat (i32.const 10)))))
        (if (i32.eq (local.get $digits) (i32.const 0xffff))
          (then
            (local.set $run (i32.add (local.get $run) (i32.const 16)))
            (local.set $lead (i32.const 0)))
          (else
            (local.set $lead (i32.ctz (i32.xor (local.get $digits) (i32.const -1))))))
        (if (i32.ge_u (i32.add (local.get $run) (local.get $lead)) (i32.const 19))
          (then (local.set $flagged (i32.or (local.get $flagged) (i32.const 2)))))
        (if (i32.ne (local.get $digits) (i32.const 0xffff))
          (then
            (local.set $run
              (i32.clz (i32.xor (i32.shl (local.get $digits) (i32.const 16)) (i32.const 0xffff0000))))))

        ;; Of the look before and this one: a digit, a colon, two digits.
        (local.set $all_digits
          (i32.or (i32.shr_u (local.get $all_digits) (i32.const 16)) (i32.shl (local.get $digits) (i32.const 16))))
        (local.set $all_colons
          (i32.or
            (i32.shr_u (local.get $all_colons) (i32.const 16))
            (i32.shl (i8x16.bitmask (i8x16.eq (local.get $v) (i8x16.splat (i32.const 58)))) (i32.const 16))))
        (local.set $clocks
          (i32.and
            (i32.and
              (i32.and (i32.shl (local.get $all_digits) (i32.const 1)) (local.get $all_colons))
              (i32.and
                (i32.shr_u (local.get $all_digits) (i32.const 1))
                (i32.shr_u (local.get $all_digits) (i32.const 2))))
            (i32.const 0x3fffc000)))
        (block $no_clocks
          (loop $clock
            (br_if $no_clocks (i32.eqz (local.get $clocks)))
            (if (call $ends
                  (i32.add (i32.sub (local.get $at) (i32.const 13)) (i32.ctz (local.get $clocks))))
              (then (local.set $flagged (i32.or (local.get $flagged) (i32.const 4)))))
            (local.set $clocks (i32.and (local.get $clocks) (i32.sub (local.get $clocks) (i32.const 1))))
            (br $clock)))

        (local.set $at (i32.add (local.get $at) (i32.const 16)))
        (br $next)))
    (global.set $flags (local.get $flagged))
    (local.get $lines)))
