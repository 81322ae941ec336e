/** Secrets in the registry on both buses: sealed at rest, never told, bound to name and hosts, sealed anew by new keys. */
import { describe, expect, test } from "vitest";
import { SealedSecret } from "../../proto/gen/millrace/registry/v1/secret.ts";
import { SecretsService } from "../../proto/gen/millrace/registry/v1/secret_service.ts";
import { BUCKETS } from "../../proto/names.ts";
import { newSecretKey, parseSecretKeys, type SecretKey, unseal } from "../../proto/secrets.ts";
import { openVault } from "../../services/executor/secrets.ts";
import { silentLog } from "../../services/kit/log.ts";
import { embeddedGround, natsGround } from "../harness/bus-ground.ts";
import { startRegistry, type TestRegistry } from "../harness/registry.ts";
import { until } from "../harness/until.ts";

const VALUE = "correct horse battery staple";
const set = (registry: TestRegistry, id: string, value = VALUE, hosts: string[] = [], etag = "") =>
  registry.call(SecretsService.setSecret, { name: `secrets/${id}`, value, hosts, etag });
const list = async (registry: TestRegistry) =>
  (await registry.call(SecretsService.listSecrets, { pageSize: 0, pageToken: "" })).secrets;
const keysOf = (...texts: string[]) => parseSecretKeys(texts.join(",")) as readonly SecretKey[];

describe.each([
  ["embedded", embeddedGround],
  ["NATS", natsGround],
])("secrets on %s", (_, openGround) => {
  test("a value goes in sealed, is bound to its name and hosts, and comes back by no method", async () => {
    await using ground = await openGround();
    const secretKey = newSecretKey();
    await using registry = await startRegistry(ground.bus, { secretKey });
    const { secret } = await set(registry, "api-key", VALUE, ["api.example.org"]);
    expect(secret).toMatchObject({ name: "secrets/api-key", hosts: ["api.example.org"] });
    const listed = await list(registry);
    expect(listed).toEqual([secret]);
    expect(JSON.stringify(listed, (_, v) => (typeof v === "bigint" ? String(v) : v))).not.toContain("horse");

    const kv = await ground.bus.kv(BUCKETS.secrets);
    const [entry] = await kv.list("");
    const bytes = Buffer.from(entry?.value ?? []);
    for (const form of ["horse", "aG9yc2", "686f727365"]) expect(bytes.includes(form)).toBe(false);
    const sealed = SealedSecret.decode(bytes);
    const keys = keysOf(secretKey);
    expect(unseal(keys, sealed)).toBe(VALUE);
    expect(unseal(keys, { ...sealed, name: "secrets/other" })).toBeUndefined();
    expect(unseal(keys, { ...sealed, hosts: [...sealed.hosts, "evil.example"] })).toBeUndefined();
    expect(unseal(keysOf(newSecretKey()), sealed)).toBeUndefined();
    const flipped = Buffer.from(sealed.sealed);
    flipped[flipped.length - 1] = (flipped.at(-1) as number) ^ 1;
    expect(unseal(keys, { ...sealed, sealed: flipped })).toBeUndefined();
    expect(unseal(keys, { ...sealed, sealed: flipped.subarray(0, 20) })).toBeUndefined();
    // The same value again looks different.
    await set(registry, "api-key", VALUE, ["api.example.org"]);
    const again = SealedSecret.decode((await kv.list(""))[0]?.value as Uint8Array);
    expect(Buffer.from(again.sealed).equals(Buffer.from(sealed.sealed))).toBe(false);
  });

  test("etags, deleting, and every mistake at once, without the value", async () => {
    await using ground = await openGround();
    await using registry = await startRegistry(ground.bus, { secretKey: newSecretKey() });
    const first = (await set(registry, "a-key")).secret;
    const second = (await set(registry, "a-key", "another value", [], first?.etag)).secret;
    expect(second?.createTime).toEqual(first?.createTime);
    await expect(set(registry, "a-key", VALUE, [], first?.etag)).rejects.toMatchObject({ code: "conflict" });
    const wrong = set(registry, "A key", "s3cr!", ["http://x/", "ok.example:99999", "fine.example"]);
    const fault = await wrong.catch((thrown) => thrown);
    expect(fault.code).toBe("invalid");
    const fields = fault.mistakes.map(({ field }: { field: string }) => field);
    expect(fields).toEqual(["name", "value", "hosts[0]", "hosts[1]"]);
    expect(fault.message).not.toContain("s3cr!");
    const name = "secrets/a-key";
    await expect(registry.call(SecretsService.deleteSecret, { name, etag: first?.etag ?? "" })).rejects.toMatchObject({
      code: "conflict",
    });
    await registry.call(SecretsService.deleteSecret, { name, etag: "" });
    expect(await list(registry)).toEqual([]);
    await expect(registry.call(SecretsService.deleteSecret, { name, etag: "" })).rejects.toMatchObject({
      code: "not_found",
    });
  });

  test("without a key nothing is set; a new key seals anew what the older one opens; executors follow", async () => {
    await using ground = await openGround();
    const [older, newer] = [newSecretKey(), newSecretKey()];
    {
      await using bare = await startRegistry(ground.bus);
      await expect(set(bare, "a-key")).rejects.toMatchObject({ code: "precondition" });
      await expect(startRegistry(ground.bus, { secretKey: "short" })).rejects.toMatchObject({ code: "invalid" });
    }
    {
      await using registry = await startRegistry(ground.bus, { secretKey: older });
      await set(registry, "a-key");
    }
    const kv = await ground.bus.kv(BUCKETS.secrets);
    await using vault = await openVault(kv, newer, silentLog);
    const grants = { secrets: new Map([["a-key", false]]) };
    const value = () => vault.of(grants).valueFor("a-key", new URL("https://x.example/"));
    expect(value).toThrow(/cannot be opened/);
    await using registry = await startRegistry(ground.bus, { secretKey: `${newer},${older}` });
    const opened = await until("it is sealed anew", () => {
      try {
        return value();
      } catch {
        return false;
      }
    });
    expect(opened).toBe(VALUE);
    await set(registry, "a-key", "quite another value");
    await until("the new value is there", () => value() === "quite another value");
    // What runs may have got the older one.
    expect(vault.of(grants).scrubber.text(`${VALUE} / quite another value`)).toBe("(hidden) / (hidden)");
    await registry.call(SecretsService.deleteSecret, { name: "secrets/a-key", etag: "" });
    await until("it is gone", () => {
      try {
        value();
        return false;
      } catch (thrown) {
        return /there is none/.test(String(thrown));
      }
    });
  });
});
