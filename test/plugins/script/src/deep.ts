/** Fails in a file and line that tests know. */
interface Nothing {
  readonly there?: { readonly name: string };
}

export function fail(text: string): string {
  const nothing: Nothing = {};
  return text + (nothing.there as { name: string }).name;
}
