;; The least that is a real filter, without any language's tools: it lets requests
;; pass only with `x-hand`, and marks those that do.
;;
;; What it gives back lies at fixed places: an instance serves one call at a time.
(module
  (import "lockgate:filter/request@0.1.0" "set"
    (func $request_set (param i32 i32 i32 i32 i32)))
  (import "[export]lockgate:filter/http-filter@0.1.0" "[resource-new]filter"
    (func $filter_new (param i32) (result i32)))

  (memory (export "memory") 1)
  ;; What the host hands over is written behind everything else, from here on.
  (global $free (mut i32) (i32.const 4096))

  (data (i32.const 0) "handwritten")
  (data (i32.const 16) "1.0.0")
  (data (i32.const 32) "x-hand")
  (data (i32.const 48) "x-seen-by")
  (data (i32.const 64) "no x-hand\n")

  ;; manifest: name, version, no schema
  (data (i32.const 128) "\00\00\00\00" "\0b\00\00\00" "\10\00\00\00" "\05\00\00\00" "\00")
  ;; list of one field name, and the interest: requests, with that field at hand
  (data (i32.const 176) "\20\00\00\00" "\06\00\00\00")
  (data (i32.const 192) "\01\00\00\00" "\b0\00\00\00" "\01\00\00\00")
  ;; ok(next)
  (data (i32.const 256) "\00\00\00\00" "\00")
  ;; ok(respond(reply)): 403, no fields, the text
  (data (i32.const 288) "\00\00\00\00" "\02\00\00\00" "\93\01\00\00"
    "\00\00\00\00" "\00\00\00\00" "\40\00\00\00" "\0a\00\00\00")

  (func (export "cabi_realloc")
    (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    ;; Rounded up to what everything fits.
    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
    (global.set $free (i32.add (local.get $at) (local.get $size)))
    (local.get $at))

  (func (export "lockgate:filter/http-filter@0.1.0#describe") (result i32)
    (i32.const 128))

  ;; Any configuration will do: a handle in an `ok`.
  (func (export "lockgate:filter/http-filter@0.1.0#[static]filter.create")
    (param $config i32) (param $length i32) (result i32)
    (i32.store (i32.const 384) (i32.const 0))
    (i32.store (i32.const 388) (call $filter_new (i32.const 1)))
    (i32.const 384))

  (func (export "lockgate:filter/http-filter@0.1.0#[method]filter.wants")
    (param $self i32) (result i32)
    (i32.const 192))

  (func (export "lockgate:filter/http-filter@0.1.0#[method]filter.on-request")
    (param $self i32) (param $fields i32) (param $length i32) (result i32)
    ;; The room for it is free again for the next call.
    (global.set $free (i32.const 4096))
    ;; How many values the first field has.
    (if (i32.eqz (i32.load16_u (local.get $fields)))
      (then (return (i32.const 288))))
    (call $request_set
      (i32.const 48) (i32.const 9) (i32.const 0) (i32.const 11) (i32.const 400))
    (i32.const 256))

  ;; Phases and bodies that it never asks for.
  (func (export "lockgate:filter/http-filter@0.1.0#[method]filter.on-request-body")
    (param i32 i32 i32 i32) (result i32) (unreachable))
  (func (export "lockgate:filter/http-filter@0.1.0#[method]filter.on-request-trailers")
    (param i32) (result i32) (unreachable))
  (func (export "lockgate:filter/http-filter@0.1.0#[method]filter.on-response")
    (param i32 i32 i32) (result i32) (unreachable))
  (func (export "lockgate:filter/http-filter@0.1.0#[method]filter.on-response-body")
    (param i32 i32 i32 i32) (result i32) (unreachable))
  (func (export "lockgate:filter/http-filter@0.1.0#[method]filter.on-response-trailers")
    (param i32) (result i32) (unreachable))
  (func (export "lockgate:filter/http-filter@0.1.0#[method]filter.on-done")
    (param i32) (unreachable))
  (func (export "lockgate:filter/http-filter@0.1.0#[method]transform.push")
    (param i32 i32 i32) (result i32) (unreachable))
  (func (export "lockgate:filter/http-filter@0.1.0#[method]transform.finish")
    (param i32) (result i32) (unreachable)))
