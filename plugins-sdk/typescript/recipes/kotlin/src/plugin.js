/** What the builder sees: the compiler's output, as an ES module. */
export { fetch } from "../build/js/plugin.mjs";
