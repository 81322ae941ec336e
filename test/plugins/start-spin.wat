;; Never gets as far as being called: its start function loops.
(module
  (func $spin (loop $for_ever (br $for_ever)))
  (start $spin)
  (func (export "run") (result i32) (i32.const 0)))
