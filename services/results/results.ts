/** The results room: where rows, runs and logs are kept, and the only code that knows ClickHouse. */
export * from "./records.ts";
