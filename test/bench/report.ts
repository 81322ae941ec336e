/** Prints what a bench found: the question, a table of figures with their A/A noise, and the machine they are from. */
import { cpus, totalmem } from "node:os";

export interface Row {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** A/A noise: the relative difference of two runs of the same arm, 0.03 for 3 %. Absent: not measured. */
  readonly aa?: number | undefined;
}

export interface Arm {
  readonly name: string;
  readonly unit: string;
  /** Sets up, measures once, tears down; returns the figure. */
  readonly run: () => Promise<number>;
}

/** Runs each arm twice, alternately (A B A B), so that drift of the machine shows as noise and not as a difference. */
export async function measure(arms: readonly Arm[]): Promise<Row[]> {
  const first: number[] = [];
  for (const arm of arms) first.push(await arm.run());
  const rows: Row[] = [];
  for (const [index, { name, unit, run }] of arms.entries()) {
    const a = first[index] as number;
    const b = await run();
    const value = (a + b) / 2;
    rows.push({ name, unit, value, aa: value === 0 ? 0 : Math.abs(a - b) / value });
  }
  return rows;
}

/** `2 × AMD EPYC 9B14, 24 GiB, linux x64, Node 26.10.0`. */
export function machineLine(): string {
  const cores = cpus();
  const gib = Math.round(totalmem() / 2 ** 30);
  const model = cores[0]?.model.trim() ?? "unknown CPU";
  return `${cores.length} × ${model}, ${gib} GiB, ${process.platform} ${process.arch}, Node ${process.versions.node}`;
}

/** Three significant digits, or all of a whole number's: 12345.6 → "12,346", 0.01234 → "0.0123". */
export function formatFigure(value: number): string {
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(3)));
}

export function report({ question, rows }: { readonly question: string; readonly rows: readonly Row[] }): void {
  const cells = rows.map(({ name, value, unit, aa }) => [
    name,
    formatFigure(value),
    unit,
    aa === undefined ? "A/A not measured" : `A/A ± ${(aa * 100).toFixed(1)} %`,
  ]);
  const width = (column: number) => Math.max(...cells.map((row) => (row[column] as string).length));
  const [names, figures, units] = [width(0), width(1), width(2)];
  const lines = cells.map(
    ([name, figure, unit, noise]) =>
      `  ${name?.padEnd(names)}  ${figure?.padStart(figures)} ${unit?.padEnd(units)}  ${noise}`,
  );
  process.stdout.write(`${[question, ...lines, `  (${machineLine()})`].join("\n")}\n`);
}
