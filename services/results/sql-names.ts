/** Names and texts as SQL. */

export const rowsTable = (dataset: string) => `${dataset}__rows`;
export const quote = (name: string) => `\`${name}\``;
export const literal = (text: string) => `'${text.replace(/[\\']/g, "\\$&")}'`;
