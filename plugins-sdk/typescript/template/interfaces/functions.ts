/** Functions that other plugins may call. */
import type { Functions } from "@millrace/typescript";

export const functions = {
  summarize({ values }: { readonly values: readonly number[] }) {
    const sum = values.reduce((total, value) => total + value, 0);
    return { count: values.length, min: Math.min(...values), max: Math.max(...values), mean: sum / values.length };
  },
} satisfies Functions;
