/**
 * Answers inside the module what the C library would ask of WASI, so that no WASI import is left. There are no files,
 * no arguments, no environment; the clock and randomness are the host's; what is printed goes to the log, by lines.
 */
#include <millrace.h>

#define ERRNO_BADF 8
#define ERRNO_NOSYS 52
#define PRINTED_MAX_BYTES 1024

#define WASI(name) int32_t __imported_wasi_snapshot_preview1_##name

MR_IMPORT("extism:host/env", "log_info") void log_info(int64_t block);
MR_IMPORT("extism:host/env", "log_error") void log_error(int64_t block);

typedef struct printed {
  char line[PRINTED_MAX_BYTES];
  size_t length;
} printed;

static printed streams[2];

static void flush(int stream) {
  printed *out = &streams[stream];
  if (!out->length) return;
  int64_t block = mr_block(out->line, out->length);
  if (stream) log_error(block);
  else log_info(block);
  mr_env_free(block);
  out->length = 0;
}

WASI(fd_write)(int32_t fd, int32_t vectors, int32_t count, int32_t written) {
  if (fd != 1 && fd != 2) return ERRNO_BADF;
  const struct { const char *at; size_t length; } *parts = (const void *)(uintptr_t)vectors;
  size_t total = 0;
  printed *out = &streams[fd - 1];
  for (int32_t i = 0; i < count; i++) {
    for (size_t at = 0; at < parts[i].length; at++) {
      char c = parts[i].at[at];
      if (c != '\n') out->line[out->length++] = c;
      if (c == '\n' || out->length == PRINTED_MAX_BYTES) flush(fd - 1);
    }
    total += parts[i].length;
  }
  *(size_t *)(uintptr_t)written = total;
  return 0;
}

WASI(clock_time_get)(int32_t clock, int64_t precision, int32_t into) {
  (void)clock, (void)precision;
  *(uint64_t *)(uintptr_t)into = (uint64_t)(mr_user_now() * 1e6);
  return 0;
}
WASI(clock_res_get)(int32_t clock, int32_t into) {
  (void)clock;
  *(uint64_t *)(uintptr_t)into = 1000000;
  return 0;
}
WASI(random_get)(int32_t into, int32_t count) {
  mr_random((void *)(uintptr_t)into, (size_t)count);
  return 0;
}
_Noreturn void __imported_wasi_snapshot_preview1_proc_exit(int32_t code) {
  (void)code;
  flush(0);
  flush(1);
  __builtin_trap();
}
/** Without words of its own: what only this would need of the library would be in every plugin. */
_Noreturn void abort(void) {
  static const char error[] = "{\"code\":\"panicked\",\"message\":\"abort was called\",\"retryable\":false}";
  flush(0);
  flush(1);
  mr_env_error_set(mr_block(error, sizeof error - 1));
  __builtin_trap();
}
_Noreturn void __assert_fail(const char *what, const char *file, int line, const char *function) {
  (void)function;
  flush(0);
  flush(1);
  mr_fail("panicked", "assertion failed: %s (at %s:%d)", what, file, line);
  __builtin_trap();
}
WASI(sched_yield)(void) { return 0; }

/** What a terminal would answer: a character device, so that output is flushed by lines. */
WASI(fd_fdstat_get)(int32_t fd, int32_t into) {
  if (fd < 0 || fd > 2) return ERRNO_BADF;
  memset((void *)(uintptr_t)into, 0, 24);
  *(uint8_t *)(uintptr_t)into = 2;
  return 0;
}

static int32_t none(int32_t count, int32_t bytes) {
  *(int32_t *)(uintptr_t)count = 0;
  *(int32_t *)(uintptr_t)bytes = 0;
  return 0;
}
WASI(args_sizes_get)(int32_t count, int32_t bytes) { return none(count, bytes); }
WASI(environ_sizes_get)(int32_t count, int32_t bytes) { return none(count, bytes); }
WASI(args_get)(int32_t at, int32_t bytes) { return (void)at, (void)bytes, 0; }
WASI(environ_get)(int32_t at, int32_t bytes) { return (void)at, (void)bytes, 0; }

#define REFUSE(name, error, ...) \
  WASI(name)(__VA_ARGS__) { return error; }
#define I int32_t
#define L int64_t
REFUSE(fd_advise, ERRNO_BADF, I a, L b, L c, I d)
REFUSE(fd_allocate, ERRNO_BADF, I a, L b, L c)
REFUSE(fd_close, ERRNO_BADF, I a)
REFUSE(fd_datasync, ERRNO_BADF, I a)
REFUSE(fd_fdstat_set_flags, ERRNO_BADF, I a, I b)
REFUSE(fd_fdstat_set_rights, ERRNO_BADF, I a, L b, L c)
REFUSE(fd_filestat_get, ERRNO_BADF, I a, I b)
REFUSE(fd_filestat_set_size, ERRNO_BADF, I a, L b)
REFUSE(fd_filestat_set_times, ERRNO_BADF, I a, L b, L c, I d)
REFUSE(fd_pread, ERRNO_BADF, I a, I b, I c, L d, I e)
REFUSE(fd_prestat_get, ERRNO_BADF, I a, I b)
REFUSE(fd_prestat_dir_name, ERRNO_BADF, I a, I b, I c)
REFUSE(fd_pwrite, ERRNO_BADF, I a, I b, I c, L d, I e)
REFUSE(fd_read, ERRNO_BADF, I a, I b, I c, I d)
REFUSE(fd_readdir, ERRNO_BADF, I a, I b, I c, L d, I e)
REFUSE(fd_renumber, ERRNO_BADF, I a, I b)
REFUSE(fd_seek, ERRNO_BADF, I a, L b, I c, I d)
REFUSE(fd_sync, ERRNO_BADF, I a)
REFUSE(fd_tell, ERRNO_BADF, I a, I b)
REFUSE(path_create_directory, ERRNO_NOSYS, I a, I b, I c)
REFUSE(path_filestat_get, ERRNO_NOSYS, I a, I b, I c, I d, I e)
REFUSE(path_filestat_set_times, ERRNO_NOSYS, I a, I b, I c, I d, L e, L f, I g)
REFUSE(path_link, ERRNO_NOSYS, I a, I b, I c, I d, I e, I f, I g)
REFUSE(path_open, ERRNO_NOSYS, I a, I b, I c, I d, I e, L f, L g, I h, I i)
REFUSE(path_readlink, ERRNO_NOSYS, I a, I b, I c, I d, I e, I f)
REFUSE(path_remove_directory, ERRNO_NOSYS, I a, I b, I c)
REFUSE(path_rename, ERRNO_NOSYS, I a, I b, I c, I d, I e, I f)
REFUSE(path_symlink, ERRNO_NOSYS, I a, I b, I c, I d, I e)
REFUSE(path_unlink_file, ERRNO_NOSYS, I a, I b, I c)
REFUSE(poll_oneoff, ERRNO_NOSYS, I a, I b, I c, I d)
REFUSE(sock_accept, ERRNO_NOSYS, I a, I b, I c)
REFUSE(sock_recv, ERRNO_NOSYS, I a, I b, I c, I d, I e, I f)
REFUSE(sock_send, ERRNO_NOSYS, I a, I b, I c, I d, I e)
REFUSE(sock_shutdown, ERRNO_NOSYS, I a, I b)
