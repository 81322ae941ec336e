/** Windows that the plugin writes itself, and the hooks around them. */
import {
  type AfterSyncCall,
  type BeforeSyncCall,
  type BeforeSyncResult,
  checkpoint,
  type FetchStatus,
  log,
  type SyncCall,
  type SyncResult,
} from "@millrace/typescript";

export function sync(call: SyncCall<{ mode?: FetchStatus }, { n: number }>): SyncResult {
  return call.config.mode ? { status: call.config.mode } : rows(call.begin, call.cursor?.n ?? 0);
}

function* rows(time: string, from: number) {
  for (let n = from + 1; n <= 3; n++) {
    yield { n, time };
    if (n === 2) checkpoint({ n });
  }
}

export const before_sync = ({ begin, config, pipe }: BeforeSyncCall<{ closed?: string }>): BeforeSyncResult =>
  config.closed && `${config.closed}: ${pipe.metric} from ${begin.slice(0, 10)}`;

export async function after_sync({ outcome, rows, run, message }: AfterSyncCall) {
  log.info(`${outcome}: ${rows} rows of ${run}: ${message}`);
}
