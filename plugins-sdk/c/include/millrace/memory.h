/** Memory that lives as long as a call: taken in chunks, given back whole when the next call of the instance begins. */
#ifndef MILLRACE_MEMORY_H
#define MILLRACE_MEMORY_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
#define MR_LINKAGE extern "C"
#else
#define MR_LINKAGE extern
#endif

/** Not every plugin uses every function. */
#define MR_API __attribute__((unused)) static

#define MR_ALIGN 16
/** The first chunk; each further one is twice as large, up to the last. */
#define MR_FIRST_CHUNK_BYTES ((size_t)16 << 10)
#define MR_LAST_CHUNK_BYTES ((size_t)1 << 20)

/** Its bytes follow it. */
typedef struct __attribute__((aligned(MR_ALIGN))) mr_chunk {
  struct mr_chunk *older;
  size_t room;
  size_t used;
} mr_chunk;

/** One for all sources of a plugin: the chunk that is being filled, and behind it those that are full. */
__attribute__((weak)) mr_chunk *mr_chunks = 0;
/** Blocks that are so large that each has a chunk of its own. */
__attribute__((weak)) mr_chunk *mr_large = 0;

MR_API char *mr_chunk_bytes(mr_chunk *chunk) { return (char *)(chunk + 1); }

/** Out of memory, the call ends as `out_of_memory`. */
MR_API mr_chunk *mr_add_chunk(mr_chunk **list, size_t room) {
  mr_chunk *chunk = (mr_chunk *)malloc(sizeof(mr_chunk) + room);
  if (!chunk) __builtin_trap();
  chunk->older = *list;
  chunk->room = room;
  chunk->used = 0;
  *list = chunk;
  return chunk;
}

/** Memory until the end of the call. Nobody has to free it. */
MR_API void *mr_alloc(size_t bytes) {
  size_t size = (bytes + MR_ALIGN - 1) & ~(size_t)(MR_ALIGN - 1);
  if (size < bytes) __builtin_trap();
  if (size > MR_FIRST_CHUNK_BYTES / 4) {
    mr_chunk *own = mr_add_chunk(&mr_large, size);
    own->used = size;
    return mr_chunk_bytes(own);
  }
  mr_chunk *chunk = mr_chunks;
  if (!chunk || chunk->room - chunk->used < size) {
    size_t room = chunk ? chunk->room * 2 : MR_FIRST_CHUNK_BYTES;
    chunk = mr_add_chunk(&mr_chunks, room < MR_LAST_CHUNK_BYTES ? room : MR_LAST_CHUNK_BYTES);
  }
  void *at = mr_chunk_bytes(chunk) + chunk->used;
  chunk->used += size;
  return at;
}

/** Gives a block back before the end of the call. Only large ones are worth it: small ones stay. */
MR_API void mr_drop(void *at) {
  for (mr_chunk **link = &mr_large; *link; link = &(*link)->older) {
    mr_chunk *own = *link;
    if (mr_chunk_bytes(own) != at) continue;
    *link = own->older;
    free(own);
    return;
  }
}

/** A larger block with what is in the one at hand, which is gone. `from` may be NULL. */
MR_API void *mr_grow(void *from, size_t length, size_t bytes) {
  void *at = mr_alloc(bytes);
  if (length) memcpy(at, from, length);
  if (from) mr_drop(from);
  return at;
}

/** Gives back all but one chunk, which is filled anew. */
MR_API void mr_release(void) {
  while (mr_large) mr_drop(mr_chunk_bytes(mr_large));
  while (mr_chunks && mr_chunks->older) {
    mr_chunk *full = mr_chunks;
    mr_chunks = full->older;
    free(full);
  }
  if (mr_chunks) mr_chunks->used = 0;
}

#endif
