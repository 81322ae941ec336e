/** Functions that other plugins may call. */
export const functions = {
  summarize({ values }) {
    const sum = values.reduce((total, value) => total + value, 0);
    return { count: values.length, min: Math.min(...values), max: Math.max(...values), mean: sum / values.length };
  },
};
