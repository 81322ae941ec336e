;; The WASI functions that the interpreter imports. 8: no such descriptor; 52: there is no environment.
(module
  (func (export "fd_close") (param i32) (result i32) (i32.const 8))
  (func (export "fd_seek") (param i32 i64 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_read") (param i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_write") (param i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "environ_get") (param i32 i32) (result i32) (i32.const 52))
  (func (export "environ_sizes_get") (param i32 i32) (result i32) (i32.const 52)))
