/** One SQLite file: opened by one process at a time, written in groups that share a commit. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";
import { Fault } from "../../kit/fault.ts";
import { SCHEMA, SCHEMA_VERSION } from "./schema.ts";

const SQLITE_BUSY = 5;
const SQLITE_FULL = 13;
const SQLITE_READ_ONLY = 8;
const SQLITE_CANNOT_OPEN = 14;
const SQLITE_NOT_A_DATABASE = 26;
/** What stays of the write-ahead log once its content is in the file; a large blob makes it longer for a while. */
const WAL_LIMIT_BYTES = 16 * 1_024 * 1_024;

interface Write {
  readonly run: () => unknown;
  readonly resolve: (value: never) => void;
  readonly reject: (fault: Fault) => void;
}

type Row = Record<string, unknown>;

/**
 * The file is locked by SQLite's exclusive mode: a lock of the operating system, which dies with the process. The
 * `.pid` file beside it only serves the message that a second process gets.
 *
 * `synchronous=FULL` makes every commit wait for the disk, so an answered write outlives kill -9 and a power cut
 * alike. That wait is shared: all writes asked for in one turn of the event loop go into one commit.
 */
export class Store implements Disposable {
  readonly #db: DatabaseSync;
  readonly #file: string;
  readonly #statements = new Map<string, StatementSync>();
  #batch: Write[] = [];
  #committed: (() => void)[] = [];
  #closed = false;

  constructor(file: string) {
    this.#file = file;
    this.#db = openLocked(file);
  }

  all<T = Row>(sql: string, ...values: SQLInputValue[]): T[] {
    return this.#statement(sql).all(...values) as T[];
  }

  get<T = Row>(sql: string, ...values: SQLInputValue[]): T | undefined {
    return this.#statement(sql).get(...values) as T | undefined;
  }

  /** Returns how many rows changed. Only within `write`. */
  run(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.#statement(sql).run(...values).changes);
  }

  /**
   * Runs `work` inside the next commit and resolves once that is on disk. `work` may throw a Fault only before its
   * first change: it then fails alone. Any other error fails, and undoes, the whole group.
   */
  write<T>(work: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#closed) return reject(closedFault(this.#file));
      this.#batch.push({ run: work, resolve: resolve as (value: never) => void, reject });
      if (this.#batch.length === 1) setImmediate(() => this.#flush());
    });
  }

  /** Within `write`: what to do once the group is on disk, before anyone's promise resolves. */
  afterCommit(notify: () => void): void {
    this.#committed.push(notify);
  }

  /** Errors: `unavailable` after close. */
  checkOpen(): void {
    if (this.#closed) throw closedFault(this.#file);
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#flush();
    this.#closed = true;
    rmSync(pidFile(this.#file), { force: true });
    this.#db.close();
  }

  #flush(): void {
    const batch = this.#batch;
    if (batch.length === 0) return;
    this.#batch = [];
    const settle: (() => void)[] = [];
    try {
      this.#statement("BEGIN IMMEDIATE").run();
      for (const { run, resolve, reject } of batch) {
        try {
          const value = run() as never;
          settle.push(() => resolve(value));
        } catch (thrown) {
          if (!(thrown instanceof Fault)) throw thrown;
          settle.push(() => reject(thrown));
        }
      }
      this.#statement("COMMIT").run();
    } catch (thrown) {
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      this.#committed = [];
      const fault = translate(this.#file, thrown);
      for (const { reject } of batch) reject(fault);
      return;
    }
    const committed = this.#committed;
    this.#committed = [];
    for (const notify of committed) notify();
    for (const done of settle) done();
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (!statement) {
      this.checkOpen();
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

function openLocked(file: string): DatabaseSync {
  let db: DatabaseSync | undefined;
  try {
    // What plugins keep is nobody else's business.
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    db = new DatabaseSync(file, { timeout: 0 });
    db.exec("PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL");
    db.exec(`PRAGMA journal_size_limit=${WAL_LIMIT_BYTES}; BEGIN IMMEDIATE; COMMIT`);
    const version = (db.prepare("PRAGMA user_version").get() as { user_version: number }).user_version;
    if (version > SCHEMA_VERSION) {
      throw new Fault("precondition", `${file} was written by a newer Millrace (format ${version}); start that one`);
    }
    if (version === 0) db.exec(`BEGIN; ${SCHEMA}; PRAGMA user_version=${SCHEMA_VERSION}; COMMIT`);
    writeFileSync(pidFile(file), `${process.pid}\n`);
    return db;
  } catch (thrown) {
    db?.close();
    throw translate(file, thrown);
  }
}

function translate(file: string, thrown: unknown): Fault {
  if (thrown instanceof Fault) return thrown;
  const cause = thrown as NodeJS.ErrnoException & { errcode?: number };
  switch ((cause.errcode ?? 0) & 0xff) {
    case SQLITE_BUSY:
      return new Fault("precondition", `${file} is locked by ${holder(file)}; stop it, or use another folder`, {
        cause,
      });
    case SQLITE_NOT_A_DATABASE:
      return new Fault("precondition", `${file} is not a bus file; move it away, or use another folder`, { cause });
    case SQLITE_READ_ONLY:
    case SQLITE_CANNOT_OPEN:
      return new Fault("precondition", `${file} cannot be written: ${cause.message}; check its folder`, { cause });
    case SQLITE_FULL:
      return new Fault("exhausted", `no room left on the disk for ${file}`, { cause });
    default:
      if (/^E(ACCES|PERM|ROFS|NOTDIR|EXIST)$/.test(cause.code ?? "")) {
        return new Fault("precondition", `${file} cannot be written: ${cause.message}; use another folder`, { cause });
      }
      return new Fault("internal", `${file}: ${cause.message}`, { cause });
  }
}

function holder(file: string): string {
  try {
    const pid = Number(readFileSync(pidFile(file), "utf8"));
    process.kill(pid, 0);
    return `process ${pid}`;
  } catch {
    return "another process";
  }
}

function closedFault(file: string): Fault {
  return new Fault("unavailable", `the bus in ${file} is closed`);
}

function pidFile(file: string): string {
  return `${file}.pid`;
}
