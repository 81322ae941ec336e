;; A stack that carries one guest after the other. Guests that may wait need a stack of their own; V8 keeps only 4 MiB of
;; such stacks for another call, so mapping, touching and unmapping one would cost more than a small guest. This one is
;; entered once and waits between guests. Whatever throws a guest out ends its carrier too: nothing is caught here.
(module
  (type $export (func (result i32)))
  ;; Waits for a guest's export; null ends the carrier.
  (import "lane" "next" (func $next (param externref) (result funcref)))
  (import "lane" "returned" (func $returned (param externref i32)))
  ;; Used by all carriers of the lane: none waits between setting it and calling what it holds.
  (table $guest 1 1 funcref)
  (func (export "carry") (param $self externref)
    (local $code i32)
    (loop $again
      (table.set $guest (i32.const 0) (call $next (local.get $self)))
      (if (ref.is_null (table.get $guest (i32.const 0))) (then (return)))
      (local.set $code (call_indirect $guest (type $export) (i32.const 0)))
      (table.set $guest (i32.const 0) (ref.null func))
      (call $returned (local.get $self) (local.get $code))
      (br $again))))
