;; Turns for ever through tables of branches, without a call and without memory.
(module
  (memory (export "memory") 1)
  (func (export "run") (result i32)
    (local $at i32)
    (loop $again
      (block $d (block $c (block $b (block $a
        (br_table $a $b $c $d (i32.and (local.get $at) (i32.const 3))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $again))
        (local.set $at (i32.xor (local.get $at) (i32.const 7)))
        (br $again))
        (local.set $at (i32.mul (local.get $at) (i32.const 5)))
        (br $again))
      (local.set $at (i32.rotl (local.get $at) (i32.const 3)))
      (br $again))
    (i32.const 0)))
