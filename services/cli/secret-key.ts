/** The key of the secrets of an embedded platform: made once, in a file of its folder that only its owner reads. */
import { open, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { newSecretKey, SECRET_KEY_ENV } from "../../proto/secrets.ts";
import { Fault } from "../kit/fault.ts";

const FILE = "secret.key";
const OWNER_ONLY = 0o600;

/** What the environment says, else the folder's own key. Errors: `precondition` when others may read the file. */
export async function secretKeyOf(folder: string, env: Readonly<Record<string, string | undefined>>): Promise<string> {
  const given = env[SECRET_KEY_ENV];
  if (given) return given;
  const path = join(folder, FILE);
  try {
    await using file = await open(path, "wx", OWNER_ONLY);
    const key = newSecretKey();
    await file.writeFile(`${key}\n`);
    await file.sync();
    return key;
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== "EEXIST") throw thrown;
  }
  const { mode } = await stat(path);
  if ((mode & 0o077) !== 0) throw new Fault("precondition", `others may read ${path}; run: chmod 600 ${path}`);
  const key = (await readFile(path, "utf8")).trim();
  if (key !== "") return key;
  throw new Fault("precondition", `${path} is empty: a start was cut off; remove it`);
}
