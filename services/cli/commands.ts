/** Every command of the CLI: the table is the help. */
import { clusterCommands } from "./cluster-commands.ts";
import type { Command } from "./command.ts";
import { dataCommands } from "./data-commands.ts";
import { pluginCommands } from "./plugin-commands.ts";
import { serverCommands } from "./server-commands.ts";

export const commands: readonly Command[] = [...serverCommands, ...clusterCommands, ...pluginCommands, ...dataCommands];
