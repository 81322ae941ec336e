/** A window whose rows the plugin writes itself, and the hooks around it. */
import {
  type AfterSyncCall,
  type BeforeSyncCall,
  checkpoint,
  emit,
  emitCsv,
  log,
  type SyncCall,
} from "@millrace/typescript";

export function sync({ window, cursor }: SyncCall) {
  emit({ n: 1 });
  const rows = emitCsv(`n,day\n2,${window.firstDay}\n`);
  checkpoint({ rows, before: cursor });
  return { status: "partial" as const };
}

export const before_sync = ({ config, window }: BeforeSyncCall<{ closed?: boolean }>) =>
  config.closed ? `closed on ${window.firstDay}` : undefined;

export function after_sync({ outcome, rows, run }: AfterSyncCall) {
  log.info(`${run} is ${outcome}`, { rows });
}
