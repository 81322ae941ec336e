/** What ClickHouse's errors mean to us: a code of ours, and whether the same bytes may be sent again. */
import { ClickHouseError } from "@clickhouse/client";
import { Fault, type FaultCode } from "../kit/fault.ts";

/** Only codes whose meaning we rely on; every other refusal is `invalid`: sending it again changes nothing. */
const CODES: Readonly<Record<string, FaultCode>> = {
  "3": "unavailable", // UNEXPECTED_END_OF_FILE: the connection was cut
  "159": "deadline", // TIMEOUT_EXCEEDED
  "160": "deadline", // TOO_SLOW
  "164": "denied", // READONLY
  "202": "exhausted", // TOO_MANY_SIMULTANEOUS_QUERIES
  "209": "unavailable", // SOCKET_TIMEOUT
  "210": "unavailable", // NETWORK_ERROR
  "241": "exhausted", // MEMORY_LIMIT_EXCEEDED
  "242": "unavailable", // TABLE_IS_READ_ONLY: a replica lost its keeper
  "252": "exhausted", // TOO_MANY_PARTS
  "307": "too_large", // TOO_MANY_BYTES
  "158": "too_large", // TOO_MANY_ROWS
  "394": "cancelled", // QUERY_WAS_CANCELLED
  "439": "exhausted", // CANNOT_SCHEDULE_TASK
  "497": "denied", // ACCESS_DENIED
  "516": "unauthenticated", // AUTHENTICATION_FAILED
  "60": "not_found", // UNKNOWN_TABLE
  "81": "not_found", // UNKNOWN_DATABASE
  "999": "unavailable", // KEEPER_EXCEPTION
};

/** `where` is the server's URL without credentials. */
export function clickHouseFault(thrown: unknown, where: string): Fault {
  if (thrown instanceof Fault) return thrown;
  if (thrown instanceof ClickHouseError) {
    // One INSERT that is cut into too many parts is so again; too many parts that wait for a merge is another matter.
    if (/Too many partitions for single INSERT/.test(thrown.message)) {
      const fix = "cut the dataset by month, or fetch shorter windows";
      return new Fault("invalid", `the rows of one chunk lie in more than 100 partitions; ${fix}`, { cause: thrown });
    }
    const message = `${thrown.type ?? "ClickHouse"}: ${tidy(thrown.message)}`;
    return new Fault(CODES[thrown.code] ?? "invalid", message, { cause: thrown });
  }
  const fault = Fault.from(thrown);
  if (fault.code === "cancelled") return fault;
  if (fault.code === "deadline" || /timeout/i.test(fault.message)) {
    return new Fault("deadline", `ClickHouse at ${where} did not answer in time`, { cause: thrown });
  }
  // A cut stream, a refused connection, a body that is no ClickHouse answer: whatever it is, the server was not there.
  return new Fault("unavailable", `ClickHouse at ${where} cannot be reached: ${fault.message}`, { cause: thrown });
}

/** The user and password are for the server, not for logs. */
export function withoutCredentials(url: string): string {
  const bare = new URL(url);
  bare.username = "";
  bare.password = "";
  bare.search = "";
  return bare.href.replace(/\/$/, "");
}

/** ClickHouse adds its version, the pipeline's step and our own guard's query; none helps the one who reads it. */
function tidy(message: string): string {
  return message
    .replace(/\(version [^)]*\)/g, "")
    .replace(/:? While executing \w+\.?/g, "")
    .replace(/(Expected one of: (?:[^,]+, ){5})[\s\S]{80,}$/, "$1…")
    .replace(/:? In scope SELECT formatQuerySingleLine[\s\S]*$/, "")
    .trim();
}
