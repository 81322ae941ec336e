/** Every command of the CLI: the table is the help. */
import { authorCommands } from "./author-commands.ts";
import { backfillCommands } from "./backfill-commands.ts";
import { clusterCommands } from "./cluster-commands.ts";
import { collectionCommands } from "./collections.ts";
import type { Command } from "./command.ts";
import { contextCommands } from "./context-commands.ts";
import { dataCommands } from "./data-commands.ts";
import { declarationCommands } from "./declaration-commands.ts";
import { functionCommands } from "./function-commands.ts";
import { grantCommands } from "./grant-commands.ts";
import { maintenanceCommands } from "./maintenance-commands.ts";
import { pipeEditCommand } from "./pipe-edit.ts";
import { pluginCommands } from "./plugin-commands.ts";
import { replayCommands } from "./replay-commands.ts";
import { rowsCommands } from "./rows-commands.ts";
import { runCommands } from "./run-commands.ts";
import { secretCommands } from "./secret-commands.ts";
import { selecting } from "./selection.ts";
import { serverCommands } from "./server-commands.ts";

/** Those of one noun together. */
const byNoun = (commands: readonly Command[]): Command[] =>
  Object.values(Object.groupBy(commands, ({ path }) => path.split(" ")[0] ?? "")).flatMap((group) => group ?? []);

export const commands: readonly Command[] = selecting([
  ...serverCommands,
  ...clusterCommands,
  ...declarationCommands,
  ...byNoun([
    ...authorCommands,
    ...pluginCommands,
    ...grantCommands,
    ...secretCommands,
    ...collectionCommands,
    ...contextCommands,
    ...dataCommands,
    ...functionCommands,
    pipeEditCommand,
    ...rowsCommands,
    ...maintenanceCommands,
    ...backfillCommands,
    ...runCommands,
    ...replayCommands,
  ]),
]);
