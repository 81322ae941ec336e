/** The languages that plugins are built from, in the order in which a folder is asked whether it is one of theirs. */
import * as assemblyscript from "./assemblyscript/build.js";
import * as c from "./c/build.js";
import * as go from "./go/build.js";
import * as lua from "./lua/build.js";
import * as python from "./python/build.js";
import * as rust from "./rust/build.js";
import * as typescript from "./typescript/build.js";
import * as zig from "./zig/build.js";

/** @type {typeof import("./languages.d.ts").languages} */
export const languages = [
  { name: "typescript", ...typescript },
  { name: "python", ...python },
  { name: "assemblyscript", doctor: async () => [], ...assemblyscript },
  { name: "c", ...c },
  { name: "go", ...go },
  { name: "lua", ...lua },
  { name: "rust", ...rust },
  { name: "zig", ...zig },
].map(({ name, detect, buildPlugin, doctor }) => ({ name, detect, buildPlugin, doctor }));
