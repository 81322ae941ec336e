/** A real SNMP agent on a free port: a scalar, a counter past 2^53, a table of four rows; v2c and v3. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createRequire } from "node:module";

interface Agent {
  getMib(): {
    setScalarValue(name: string, value: unknown): void;
    addTableRow(name: string, row: readonly unknown[]): void;
  };
  getAuthorizer(): { addCommunity(name: string): void; addUser(user: object): void };
  registerProvider(provider: object): void;
  close(done: () => void): void;
}
interface Library {
  createAgent(options: object, callback: (error: unknown) => void): Agent;
  readonly MibProviderType: Readonly<Record<string, number>>;
  readonly ObjectType: Readonly<Record<string, number>>;
  readonly MaxAccess: Readonly<Record<string, number>>;
  readonly SecurityLevel: Readonly<Record<string, number>>;
  readonly AuthProtocols: Readonly<Record<string, number>>;
  readonly PrivProtocols: Readonly<Record<string, number>>;
}

const snmp = createRequire(import.meta.url)("net-snmp") as Library;

export const AGENT_USER = { name: "reader", auth_key: "authentic-key", priv_key: "private-key" };
export const NAME_OID = "1.3.6.1.2.1.1.5";
export const COUNTER_OID = "1.3.6.1.4.1.99999.1";
export const TABLE_OID = "1.3.6.1.4.1.99999.2";

export async function startSnmpAgent(): Promise<{ port: number } & AsyncDisposable> {
  const port = await freePort();
  const agent = snmp.createAgent({ port, address: "127.0.0.1", accessControlModelType: undefined }, () => {});
  const { ObjectType, MibProviderType, MaxAccess } = snmp;
  const scalar = (name: string, oid: string, scalarType: number | undefined) =>
    agent.registerProvider({
      ...{ name, type: MibProviderType.Scalar, oid, scalarType, maxAccess: MaxAccess["read-only"] },
    });
  scalar("name", NAME_OID, ObjectType.OctetString);
  scalar("counter", COUNTER_OID, ObjectType.Counter64);
  agent.registerProvider({
    name: "table",
    type: MibProviderType.Table,
    oid: TABLE_OID,
    maxAccess: MaxAccess["not-accessible"],
    tableColumns: [
      { number: 1, name: "index", type: ObjectType.Integer, maxAccess: MaxAccess["read-only"] },
      { number: 2, name: "label", type: ObjectType.OctetString, maxAccess: MaxAccess["read-only"] },
    ],
    tableIndex: [{ columnName: "index" }],
  });
  const mib = agent.getMib();
  mib.setScalarValue("name", "oven ☃");
  mib.setScalarValue("counter", Buffer.from("0020000000000001", "hex"));
  for (const row of [1, 2, 3, 4]) mib.addTableRow("table", [row, `row ${row}`]);
  const authorizer = agent.getAuthorizer();
  authorizer.addCommunity("public");
  authorizer.addUser({
    name: AGENT_USER.name,
    level: snmp.SecurityLevel.authPriv,
    authProtocol: snmp.AuthProtocols.sha256,
    authKey: AGENT_USER.auth_key,
    privProtocol: snmp.PrivProtocols.aes,
    privKey: AGENT_USER.priv_key,
  });
  return { port, [Symbol.asyncDispose]: () => new Promise<void>((resolve) => agent.close(() => resolve())) };
}

async function freePort(): Promise<number> {
  const socket = createSocket("udp4").bind(0, "127.0.0.1");
  await once(socket, "listening");
  const { port } = socket.address();
  socket.close();
  await once(socket, "close");
  return port;
}
