;; Bulk operations over 64 MiB: the engine looks for interrupts between them at the most.
(module
  (memory (export "memory") 1024)
  (func (export "fill") (result i32)
    (loop $for_ever
      (memory.fill (i32.const 0) (i32.const 7) (i32.const 67108864))
      (br $for_ever))
    (i32.const 0))
  (func (export "copy") (result i32)
    (loop $for_ever
      (memory.copy (i32.const 0) (i32.const 1) (i32.const 67108863))
      (br $for_ever))
    (i32.const 0)))
