/** The SDK for plugins in TypeScript and JavaScript. */
export * from "./calls.ts";
export { type HttpAnswer, hostCall, PluginError, type PluginErrorOptions } from "./host.ts";
export { type HttpOptions, HttpReply, http } from "./http.ts";
export {
  type Certificate,
  type Ping,
  type PingOptions,
  ping,
  type SnmpOptions,
  type SnmpValue,
  type SocketOptions,
  SocketReply,
  snmp,
  socket,
} from "./network.ts";
export {
  call,
  checkpoint,
  emit,
  emitArrow,
  emitCsv,
  log,
  type MetricOptions,
  metric,
  progress,
  publish,
  type QueryOptions,
  query,
  secret,
  sleep,
} from "./run.ts";
export { type About, type ContextEntry, context, type Entry, type KeyedEntry, kv, type Lifetime } from "./store.ts";
