/** The embedded server's configuration files: memory cap, quiet log, and two users, one of which can only read. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** May only SELECT, and nothing of `system`: what queries from outside run as. */
export const READER_USER = "reader";

const MIB = 1_048_576;

export interface ServerPaths {
  readonly data: string;
  readonly config: string;
}

/** `memoryMib` caps all queries, merges and caches together; caches get an eighth of it each. */
export async function writeServerConfig(folder: string, memoryMib: number): Promise<ServerPaths> {
  const data = join(folder, "data");
  const config = join(folder, "config.xml");
  const users = join(folder, "users.xml");
  const cacheBytes = Math.floor((memoryMib * MIB) / 8);
  await mkdir(data, { recursive: true });
  await writeFile(
    config,
    `<clickhouse>
  <logger><level>none</level></logger>
  <max_server_memory_usage>${memoryMib * MIB}</max_server_memory_usage>
  <mark_cache_size>${cacheBytes}</mark_cache_size>
  <uncompressed_cache_size>0</uncompressed_cache_size>
  <users_config>${escapeXml(users)}</users_config>
</clickhouse>
`,
  );
  const loopback = "<networks><ip>127.0.0.1</ip></networks>";
  await writeFile(
    users,
    `<clickhouse>
  <profiles><default/></profiles>
  <quotas><default/></quotas>
  <users>
    <default><no_password/><profile>default</profile><quota>default</quota>${loopback}</default>
    <${READER_USER}>
      <no_password/><profile>default</profile><quota>default</quota>${loopback}
      <grants>
        <query>GRANT SELECT ON *.*</query>
        <query>REVOKE SELECT ON system.*</query>
      </grants>
    </${READER_USER}>
  </users>
</clickhouse>
`,
  );
  return { data, config };
}

function escapeXml(text: string): string {
  return text.replace(/[<>&"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
