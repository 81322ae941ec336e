/** Row i of a window is 100 bytes long and lies i milliseconds after its begin; only digits differ between rows. */
#include <millrace.h>

static const char ROW[] =
    "{\"time\":\"2024-01-01T00:00:00.000000Z\",\"id\":10000000,\"name\":\"sensor-0000\",\"value\":10.25,\"flag\":true}\n";
enum { ROW_BYTES = sizeof ROW - 1, BATCH_ROWS = 10000, HOUR = 20, MINUTE = 23, SECOND = 26, MILLIS = 29, ID = 43, NAME = 67, VALUE = 81 };
static char batch[BATCH_ROWS * ROW_BYTES];

static void digits(char *at, int count, int64_t number) {
  for (int i = count - 1; i >= 0; i--, number /= 10) at[i] = (char)('0' + number % 10);
}

static void put_row(char *at, int64_t i) {
  digits(at + HOUR, 2, i / 3600000 % 24);
  digits(at + MINUTE, 2, i / 60000 % 60);
  digits(at + SECOND, 2, i / 1000 % 60);
  digits(at + MILLIS, 3, i % 1000);
  digits(at + ID, 8, 10000000 + i);
  digits(at + NAME, 4, i % 10000);
  digits(at + VALUE, 2, 10 + i % 90);
}

MR_EXPORT(fetch) {
  mr_fetch run = mr_fetch_read();
  const int64_t rows = mr_integer(mr_get(run.config, "rows"), 10);
  const bool saves = mr_bool(mr_get(run.config, "checkpoints"), false);
  for (int i = 0; i < BATCH_ROWS; i++) memcpy(batch + i * ROW_BYTES, ROW, ROW_BYTES);
  for (int64_t i = mr_integer(run.cursor, 0); i < rows;) {
    const int64_t end = i + BATCH_ROWS < rows ? i + BATCH_ROWS : rows;
    const size_t length = (size_t)(end - i) * ROW_BYTES;
    for (char *at = batch; i < end; i++, at += ROW_BYTES) put_row(at, i);
    mr_writer piece = {.bytes = batch, .length = length, .room = sizeof batch};
    mr_reply taken = mr_call("emit", &piece);
    if (taken.failed) return mr_fail_with(taken.fault);
    if (!saves) continue;
    mr_reply saved = mr_checkpoint(mr_format("%lld", (long long)i));
    if (saved.failed) return mr_fail_with(saved.fault);
  }
  return mr_fetch_ok(&run, NULL);
}
