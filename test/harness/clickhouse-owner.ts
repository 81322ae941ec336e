/** A process that owns a ClickHouse, to be killed by a test. Usage: clickhouse-owner.ts <folder>; prints the URL. */
import { silentLog } from "../../services/kit/log.ts";
import { startClickHouse } from "../../services/results/results.ts";

const folder = process.argv[2] ?? "";
const server = await startClickHouse({ folder, port: 0, memoryMib: 512, log: silentLog });
process.stdout.write(`${server.url}\n`);
