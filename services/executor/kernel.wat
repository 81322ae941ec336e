;; The kernel: Extism's host interface over blocks, in WebAssembly, so that a guest's loads and stores never leave it.
;; One instance serves one guest at a time. All instances of a lane share one memory; each owns the region
;; [base, base + limit) of it, and a guest's address is an offset into the region of its kernel, checked against `top`
;; on every access. What lies in a region was written by its guest, headers and lists included: nothing that is read
;; from it is trusted, and the worst that a forged header can do is to confuse the guest that forged it.
;;
;; Region: 16..144 heads of the lists of free blocks by size, from 144 the blocks. A block is a header of 16 bytes
;; (capacity; size, or the next free block; the block made before it; mark) and its bytes.
(module
  (import "lane" "memory" (memory 1 65536))
  ;; Makes `limit` at least this, possibly moving the region, or throws.
  (import "lane" "grow" (func $grow (param i32)))
  ;; Throws, naming what is wrong (0 address, 1 handle, 2 size, 3 output) with which value.
  (import "lane" "refuse" (func $refuse (param i32 i64)))
  (import "lane" "host_call" (func $lane_host_call (param i32 i32 i32 i32) (result i32)))
  (import "lane" "http_request" (func $lane_http_request (param i32 i32 i32 i32) (result i32)))
  (import "lane" "http_headers" (func $lane_http_headers (result i32)))
  (import "lane" "random" (func $lane_random (param i32) (result i32)))
  (import "lane" "log" (func $lane_log (param i32 i32 i32)))
  (import "lane" "config_get" (func $lane_config_get (param i32 i32) (result i32)))
  (import "lane" "var_get" (func $lane_var_get (param i32 i32) (result i32)))
  ;; The last argument says whether there is a value.
  (import "lane" "var_set" (func $lane_var_set (param i32 i32 i32 i32 i32)))

  (global $base (mut i32) (i32.const 0))
  (global $limit (mut i32) (i32.const 0))
  ;; Offsets: the end of the last block, and the highest that ever was since the reset.
  (global $top (mut i32) (i32.const 144))
  (global $high (mut i32) (i32.const 144))
  (global $last (mut i32) (i32.const 0))
  (global $free_blocks (mut i32) (i32.const 0))
  (global $input_length (mut i32) (i32.const 0))
  (global $output_at (mut i32) (i32.const 0))
  (global $output_length (mut i32) (i32.const 0))
  (global $error_at (mut i32) (i32.const 0))
  (global $error_length (mut i32) (i32.const 0))
  (global $status (mut i32) (i32.const 0))

  ;; What the lane asks for and tells, by number (kernel.ts has their names). One export, because each weighs 400 bytes in
  ;; every kernel, and every guest that waits has one.
  (func (export "tell") (param $what i32) (param $a i32) (param $b i32) (param $c i32) (result i32)
    (if (i32.eq (local.get $what) (i32.const 0)) (then (return (global.get $high))))
    (if (i32.eq (local.get $what) (i32.const 1)) (then (return (global.get $output_at))))
    (if (i32.eq (local.get $what) (i32.const 2)) (then (return (global.get $output_length))))
    (if (i32.eq (local.get $what) (i32.const 3)) (then (return (global.get $error_at))))
    (if (i32.eq (local.get $what) (i32.const 4)) (then (return (global.get $error_length))))
    (if (i32.eq (local.get $what) (i32.const 5)) (then (return (call $take (local.get $a)))))
    (if (i32.eq (local.get $what) (i32.const 6))
      (then (return (call $reset (local.get $a) (local.get $b) (local.get $c)))))
    ;; The status of an HTTP answer.
    (if (i32.eq (local.get $what) (i32.const 7)) (then (global.set $status (local.get $a)) (return (i32.const 0))))
    ;; The region lies elsewhere now, its bytes with it.
    (if (i32.eq (local.get $what) (i32.const 8))
      (then
        (global.set $base (local.get $a))
        (global.set $limit (local.get $b))
        (return (i32.const 0))))
    (unreachable))

  ;; A new call in a zeroed region. The first block is the input; its bytes are written by the lane.
  (func $reset (param $base i32) (param $limit i32) (param $input_length i32) (result i32)
    (global.set $base (local.get $base))
    (global.set $limit (local.get $limit))
    (global.set $top (i32.const 144))
    (global.set $high (i32.const 144))
    (global.set $last (i32.const 0))
    (global.set $free_blocks (i32.const 0))
    (global.set $output_at (i32.const 0))
    (global.set $output_length (i32.const 0))
    (global.set $error_at (i32.const 0))
    (global.set $error_length (i32.const 0))
    (global.set $status (i32.const 0))
    (global.set $input_length (local.get $input_length))
    (call $take (local.get $input_length)))

  (func $mark_used (param $at i32) (result i32) (i32.xor (local.get $at) (i32.const 0x6b6e7573)))
  (func $mark_free (param $at i32) (result i32) (i32.xor (local.get $at) (i32.const 0x66726565)))

  ;; Whether a block begins here that carries this mark and lies below `top`.
  (func $is_block (param $at i32) (param $mark i32) (result i32)
    (local $header i32)
    (if (i32.or
          (i32.or (i32.lt_u (local.get $at) (i32.const 160)) (i32.gt_u (local.get $at) (global.get $top)))
          (i32.and (local.get $at) (i32.const 7)))
      (then (return (i32.const 0))))
    (local.set $header (i32.sub (i32.add (global.get $base) (local.get $at)) (i32.const 16)))
    (i32.and
      (i32.eq (i32.load offset=12 (local.get $header)) (local.get $mark))
      (i32.le_u (i32.load (local.get $header)) (i32.sub (global.get $top) (local.get $at)))))

  ;; The first of the free blocks of $class (capacity of at least 2^class), when it is large enough; else 0.
  (func $pop (param $class i32) (param $size i32) (result i32)
    (local $head i32) (local $at i32) (local $header i32)
    (if (i32.gt_u (local.get $class) (i32.const 31)) (then (return (i32.const 0))))
    (local.set $head
      (i32.add (i32.add (global.get $base) (i32.const 16)) (i32.shl (local.get $class) (i32.const 2))))
    (local.set $at (i32.load (local.get $head)))
    (if (i32.eqz (call $is_block (local.get $at) (call $mark_free (local.get $at)))) (then (return (i32.const 0))))
    (local.set $header (i32.sub (i32.add (global.get $base) (local.get $at)) (i32.const 16)))
    (if (i32.lt_u (i32.load (local.get $header)) (local.get $size)) (then (return (i32.const 0))))
    (i32.store (local.get $head) (i32.load offset=4 (local.get $header)))
    (global.set $free_blocks (i32.sub (global.get $free_blocks) (i32.const 1)))
    (i32.store offset=4 (local.get $header) (local.get $size))
    (i32.store offset=12 (local.get $header) (call $mark_used (local.get $at)))
    (memory.fill (i32.add (global.get $base) (local.get $at)) (i32.const 0) (local.get $size))
    (local.get $at))

  ;; A zeroed block of at most 2^30 bytes.
  (func $take (param $size i32) (result i32)
    (local $at i32) (local $end i32) (local $class i32) (local $header i32)
    (if (i32.gt_u (local.get $size) (i32.const 0x40000000))
      (then (call $refuse (i32.const 2) (i64.extend_i32_u (local.get $size))) (unreachable)))
    (if (i32.gt_s (global.get $free_blocks) (i32.const 0))
      (then
        (local.set $class (i32.sub (i32.const 31) (i32.clz (i32.or (local.get $size) (i32.const 1)))))
        (if (local.tee $at (call $pop (local.get $class) (local.get $size))) (then (return (local.get $at))))
        (local.set $class (i32.add (local.get $class) (i32.const 1)))
        (if (local.tee $at (call $pop (local.get $class) (local.get $size))) (then (return (local.get $at))))
        (local.set $class (i32.add (local.get $class) (i32.const 1)))
        (if (local.tee $at (call $pop (local.get $class) (local.get $size))) (then (return (local.get $at))))))
    (local.set $at
      (i32.add (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)) (i32.const 16)))
    (local.set $end (i32.add (local.get $at) (local.get $size)))
    (if (i32.gt_u (local.get $end) (global.get $limit)) (then (call $grow (local.get $end))))
    ;; `grow` is the lane's; that it did what it says is not taken on trust either.
    (if (i32.gt_u (local.get $end) (global.get $limit)) (then (unreachable)))
    (local.set $header (i32.sub (i32.add (global.get $base) (local.get $at)) (i32.const 16)))
    (i32.store (local.get $header) (local.get $size))
    (i32.store offset=4 (local.get $header) (local.get $size))
    (i32.store offset=8 (local.get $header) (global.get $last))
    (i32.store offset=12 (local.get $header) (call $mark_used (local.get $at)))
    (if (i32.gt_u (global.get $high) (local.get $at))
      (then
        (memory.fill
          (i32.add (global.get $base) (local.get $at))
          (i32.const 0)
          (select
            (local.get $size)
            (i32.sub (global.get $high) (local.get $at))
            (i32.lt_u (local.get $end) (global.get $high))))))
    (global.set $last (local.get $at))
    (global.set $top (local.get $end))
    (if (i32.gt_u (local.get $end) (global.get $high)) (then (global.set $high (local.get $end))))
    (local.get $at))

  ;; The size of the block that a handle names; 0 for "nothing". Anything else is refused.
  (func $size_of (param $handle i64) (result i32)
    (local $size i32)
    (if (i64.eqz (local.get $handle)) (then (return (i32.const 0))))
    (if (call $is_handle (local.get $handle))
      (then
        (local.set $size
          (i32.load
            (i32.sub (i32.add (global.get $base) (i32.wrap_i64 (local.get $handle))) (i32.const 12))))
        (if (i32.le_u (local.get $size) (i32.sub (global.get $top) (i32.wrap_i64 (local.get $handle))))
          (then (return (local.get $size))))))
    (call $refuse (i32.const 1) (local.get $handle))
    (unreachable))

  (func $is_handle (param $handle i64) (result i32)
    (if (i64.gt_u (local.get $handle) (i64.const 0xffffffff)) (then (return (i32.const 0))))
    (call $is_block
      (i32.wrap_i64 (local.get $handle))
      (call $mark_used (i32.wrap_i64 (local.get $handle)))))

  ;; Where $width bytes at a guest's address lie in the memory of the lane.
  (func $place (param $at i64) (param $width i64) (result i32)
    (if (i64.gt_u (local.get $at) (i64.sub (i64.extend_i32_u (global.get $top)) (local.get $width)))
      (then (call $refuse (i32.const 0) (local.get $at)) (unreachable)))
    (i32.add (global.get $base) (i32.wrap_i64 (local.get $at))))

  (func $input_place (param $at i64) (param $width i64) (result i32)
    (if (i64.lt_u (i64.extend_i32_u (global.get $input_length)) (local.get $width))
      (then (call $refuse (i32.const 0) (local.get $at)) (unreachable)))
    (if (i64.gt_u (local.get $at) (i64.sub (i64.extend_i32_u (global.get $input_length)) (local.get $width)))
      (then (call $refuse (i32.const 0) (local.get $at)) (unreachable)))
    (i32.add (i32.add (global.get $base) (i32.const 160)) (i32.wrap_i64 (local.get $at))))

  ;; Extism's interface: all that follows is imported by guests as it is.
  (func (export "alloc") (param $size i64) (result i64)
    (if (i64.gt_u (local.get $size) (i64.const 0x40000000))
      (then (call $refuse (i32.const 2) (local.get $size)) (unreachable)))
    (i64.extend_i32_u (call $take (i32.wrap_i64 (local.get $size)))))

  (func (export "free") (param $handle i64)
    (local $at i32) (local $header i32) (local $class i32) (local $head i32)
    (if (i32.eqz (call $is_handle (local.get $handle))) (then (return)))
    (local.set $at (i32.wrap_i64 (local.get $handle)))
    (local.set $header (i32.sub (i32.add (global.get $base) (local.get $at)) (i32.const 16)))
    (if (i32.eq (local.get $at) (global.get $last))
      (then
        (i32.store offset=12 (local.get $header) (i32.const 0))
        (global.set $top (i32.sub (local.get $at) (i32.const 16)))
        (global.set $last (i32.load offset=8 (local.get $header)))
        (return)))
    (local.set $class (i32.sub (i32.const 31) (i32.clz (i32.or (i32.load (local.get $header)) (i32.const 1)))))
    (local.set $head
      (i32.add (i32.add (global.get $base) (i32.const 16)) (i32.shl (local.get $class) (i32.const 2))))
    (i32.store offset=4 (local.get $header) (i32.load (local.get $head)))
    (i32.store offset=12 (local.get $header) (call $mark_free (local.get $at)))
    (i32.store (local.get $head) (local.get $at))
    (global.set $free_blocks (i32.add (global.get $free_blocks) (i32.const 1))))

  (func (export "length") (param $handle i64) (result i64)
    (if (i32.eqz (call $is_handle (local.get $handle))) (then (return (i64.const 0))))
    (i64.extend_i32_u (call $size_of (local.get $handle))))
  (func (export "load_u8") (param $at i64) (result i32)
    (i32.load8_u (call $place (local.get $at) (i64.const 1))))
  (func (export "load_u64") (param $at i64) (result i64)
    (i64.load (call $place (local.get $at) (i64.const 8))))
  (func (export "store_u8") (param $at i64) (param $value i32)
    (i32.store8 (call $place (local.get $at) (i64.const 1)) (local.get $value)))
  (func (export "store_u64") (param $at i64) (param $value i64)
    (i64.store (call $place (local.get $at) (i64.const 8)) (local.get $value)))

  (func (export "input_offset") (result i64) (i64.const 160))
  (func (export "input_length") (result i64) (i64.extend_i32_u (global.get $input_length)))
  (func (export "input_load_u8") (param $at i64) (result i32)
    (i32.load8_u (call $input_place (local.get $at) (i64.const 1))))
  (func (export "input_load_u64") (param $at i64) (result i64)
    (i64.load (call $input_place (local.get $at) (i64.const 8))))

  (func (export "output_set") (param $at i64) (param $length i64)
    (if (i64.gt_u (local.get $at) (i64.extend_i32_u (global.get $top)))
      (then (call $refuse (i32.const 0) (local.get $at)) (unreachable)))
    (if (i64.gt_u (local.get $length) (i64.sub (i64.extend_i32_u (global.get $top)) (local.get $at)))
      (then (call $refuse (i32.const 3) (local.get $length)) (unreachable)))
    (global.set $output_at (i32.wrap_i64 (local.get $at)))
    (global.set $output_length (i32.wrap_i64 (local.get $length))))
  (func (export "error_set") (param $handle i64)
    (global.set $error_length (call $size_of (local.get $handle)))
    (global.set $error_at (i32.wrap_i64 (local.get $handle))))
  (func (export "error_get") (result i64) (i64.extend_i32_u (global.get $error_at)))

  (func (export "config_get") (param $key i64) (result i64)
    (i64.extend_i32_u (call $lane_config_get (i32.wrap_i64 (local.get $key)) (call $size_of (local.get $key)))))
  (func (export "var_get") (param $key i64) (result i64)
    (i64.extend_i32_u (call $lane_var_get (i32.wrap_i64 (local.get $key)) (call $size_of (local.get $key)))))
  (func (export "var_set") (param $key i64) (param $value i64)
    (call $lane_var_set
      (i32.wrap_i64 (local.get $key)) (call $size_of (local.get $key))
      (i32.wrap_i64 (local.get $value)) (call $size_of (local.get $value))
      (i64.ne (local.get $value) (i64.const 0))))
  (func (export "http_request") (param $request i64) (param $body i64) (result i64)
    (i64.extend_i32_u
      (call $lane_http_request
        (i32.wrap_i64 (local.get $request)) (call $size_of (local.get $request))
        (i32.wrap_i64 (local.get $body)) (call $size_of (local.get $body)))))
  (func (export "http_status_code") (result i32) (global.get $status))
  (func (export "http_headers") (result i64) (i64.extend_i32_u (call $lane_http_headers)))
  (func (export "get_log_level") (result i32) (i32.const 1))
  (func (export "log_debug") (param $handle i64)
    (call $lane_log (i32.const 0) (i32.wrap_i64 (local.get $handle)) (call $size_of (local.get $handle))))
  (func (export "log_info") (param $handle i64)
    (call $lane_log (i32.const 1) (i32.wrap_i64 (local.get $handle)) (call $size_of (local.get $handle))))
  (func (export "log_warn") (param $handle i64)
    (call $lane_log (i32.const 2) (i32.wrap_i64 (local.get $handle)) (call $size_of (local.get $handle))))
  (func (export "log_error") (param $handle i64)
    (call $lane_log (i32.const 3) (i32.wrap_i64 (local.get $handle)) (call $size_of (local.get $handle))))

  (func (export "host_call") (param $name i64) (param $request i64) (result i64)
    (i64.extend_i32_u
      (call $lane_host_call
        (i32.wrap_i64 (local.get $name)) (call $size_of (local.get $name))
        (i32.wrap_i64 (local.get $request)) (call $size_of (local.get $request)))))
  (func (export "random") (param $size i32) (result i64)
    (i64.extend_i32_u (call $lane_random (local.get $size)))))
