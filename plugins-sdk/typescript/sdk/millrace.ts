/** The SDK for plugins in TypeScript and JavaScript. */
export * from "./calls.ts";
export { type HttpAnswer, hostCall, PluginError, type PluginErrorOptions } from "./host.ts";
export { type HttpOptions, HttpReply, http } from "./http.ts";
export { call, checkpoint, emit, log, progress, publish, type QueryOptions, query, secret, sleep } from "./run.ts";
export { type Entry, kv } from "./store.ts";
