/** The guest side of ABI v1: blocks in and out, eight bytes at a time; exports. */
#ifndef MILLRACE_ABI_H
#define MILLRACE_ABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

#define MR_IMPORT(from, name) MR_LINKAGE __attribute__((import_module(from), import_name(name)))

/** Defines an export of the plugin: `MR_EXPORT(fetch) { … return 0; }`. It returns 0, or 1 after `mr_fail`. */
#define MR_EXPORT(name) MR_EXPORT_AS(name, #name)
/** Defines a function that other plugins may call: `MR_FUNCTION(convert) { … }` exports `function:convert`. */
#define MR_FUNCTION(name) MR_EXPORT_AS(function_##name, "function:" #name)
#define MR_EXPORT_AS(name, exported)                                                   \
  MR_LINKAGE int32_t mr_body_##name(void);                                             \
  MR_LINKAGE __attribute__((export_name(exported))) int32_t mr_export_##name(void);    \
  int32_t mr_export_##name(void) {                                                     \
    mr_begin_call();                                                                   \
    return mr_body_##name();                                                           \
  }                                                                                    \
  int32_t mr_body_##name(void)

/** Constructors run before the first export does: there is nobody outside who would call `_initialize`. */
MR_LINKAGE void __wasm_call_ctors(void);
/** One for all sources of a plugin. */
__attribute__((weak)) bool mr_started = false;

/**
 * What the call before left goes; what constructors made stays for ever. At the beginning of a call and not at its end,
 * so that a plugin whose calls all run on fresh instances never pays for it.
 */
MR_API void mr_begin_call(void) {
  if (mr_started) {
    mr_release();
    return;
  }
  mr_started = true;
  __wasm_call_ctors();
  mr_chunks = mr_large = 0;
}

MR_IMPORT("extism:host/env", "input_length") int64_t mr_env_input_length(void);
MR_IMPORT("extism:host/env", "input_load_u8") int32_t mr_env_input_load_u8(int64_t offset);
MR_IMPORT("extism:host/env", "input_load_u64") int64_t mr_env_input_load_u64(int64_t offset);
MR_IMPORT("extism:host/env", "length") int64_t mr_env_length(int64_t block);
MR_IMPORT("extism:host/env", "alloc") int64_t mr_env_alloc(int64_t bytes);
MR_IMPORT("extism:host/env", "free") void mr_env_free(int64_t block);
MR_IMPORT("extism:host/env", "load_u8") int32_t mr_env_load_u8(int64_t address);
MR_IMPORT("extism:host/env", "load_u64") int64_t mr_env_load_u64(int64_t address);
MR_IMPORT("extism:host/env", "store_u8") void mr_env_store_u8(int64_t address, int32_t value);
MR_IMPORT("extism:host/env", "store_u64") void mr_env_store_u64(int64_t address, int64_t value);
MR_IMPORT("extism:host/env", "output_set") void mr_env_output_set(int64_t block, int64_t length);
MR_IMPORT("extism:host/env", "error_set") void mr_env_error_set(int64_t block);
MR_IMPORT("extism:host/user", "host_call") int64_t mr_user_host_call(int64_t name, int64_t request);
MR_IMPORT("extism:host/user", "now") double mr_user_now(void);
MR_IMPORT("extism:host/user", "random") int64_t mr_user_random(int32_t count);

/** Bytes with their length; a zero byte follows them, which is not counted. */
typedef struct mr_bytes {
  char *at;
  size_t length;
} mr_bytes;

MR_API mr_bytes mr_bytes_of(size_t length) {
  mr_bytes bytes = {(char *)mr_alloc(length + 1), length};
  bytes.at[length] = 0;
  return bytes;
}

/** A block of the host with these bytes in it. */
MR_API int64_t mr_block(const char *from, size_t length) {
  int64_t block = mr_env_alloc((int64_t)length);
  size_t at = 0;
  for (; at + 8 <= length; at += 8) {
    int64_t word;
    memcpy(&word, from + at, 8);
    mr_env_store_u64(block + (int64_t)at, word);
  }
  for (; at < length; at++) mr_env_store_u8(block + (int64_t)at, (uint8_t)from[at]);
  return block;
}

/** The bytes of a block of the host, which is given back. */
MR_API mr_bytes mr_take_block(int64_t block) {
  mr_bytes bytes = mr_bytes_of((size_t)mr_env_length(block));
  size_t at = 0;
  for (; at + 8 <= bytes.length; at += 8) {
    int64_t word = mr_env_load_u64(block + (int64_t)at);
    memcpy(bytes.at + at, &word, 8);
  }
  for (; at < bytes.length; at++) bytes.at[at] = (char)mr_env_load_u8(block + (int64_t)at);
  mr_env_free(block);
  return bytes;
}

/** The whole input of this call. */
MR_API mr_bytes mr_input(void) {
  mr_bytes bytes = mr_bytes_of((size_t)mr_env_input_length());
  size_t at = 0;
  for (; at + 8 <= bytes.length; at += 8) {
    int64_t word = mr_env_input_load_u64((int64_t)at);
    memcpy(bytes.at + at, &word, 8);
  }
  for (; at < bytes.length; at++) bytes.at[at] = (char)mr_env_input_load_u8((int64_t)at);
  return bytes;
}

/** Sets the output of this call; returns what the export returns. */
MR_API int32_t mr_output(const char *bytes, size_t length) {
  mr_env_output_set(mr_block(bytes, length), (int64_t)length);
  return 0;
}

/** Milliseconds since the epoch, by the host's clock. */
MR_API double mr_now_ms(void) { return mr_user_now(); }

/** Fills a buffer with random bytes from the host, at most 1 MiB. */
MR_API void mr_random(void *into, size_t count) {
  mr_bytes bytes = mr_take_block(mr_user_random((int32_t)count));
  memcpy(into, bytes.at, count);
  mr_drop(bytes.at);
}

#endif
