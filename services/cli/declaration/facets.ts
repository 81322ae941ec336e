/** What of each entity a file may have a say in, in the file's own writing. Pure. */

import { type Instance, InstanceState } from "../../../proto/gen/millrace/registry/v1/instance.ts";
import type { Grants } from "../../../proto/gen/millrace/registry/v1/permissions.ts";
import { type Pipe, PipeState } from "../../../proto/gen/millrace/registry/v1/pipe.ts";
import type { PipeParameters } from "../../../proto/gen/millrace/registry/v1/pipe_parameters.ts";
import { type Poller, PollerKind, PollerState } from "../../../proto/gen/millrace/registry/v1/poller.ts";
import type { Resource } from "../../../proto/gen/millrace/registry/v1/resource.ts";
import { enumName } from "../api.ts";
import type { Facets } from "./item.ts";

/** Null-prototype objects of the wire and plain ones are the same to a reader. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value ?? null));
const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** As the platform keeps them, the paths of an update mask; columns as they are written in files. */
export function parameterFacets(parameters: PipeParameters): Facets {
  const fields = Object.entries(parameters).map(([field, value]) => {
    const shown = field === "columns" ? parameters.columns.map(({ name, type }) => `${name}: ${type}`) : value;
    return [`parameters.${snake(field)}`, plain(shown)];
  });
  return Object.fromEntries(fields);
}

function stateFacets(saysState: boolean, state: string, reason: string): Facets {
  if (!saysState) return {};
  const paused = state === "PAUSED";
  return { state: paused ? "PAUSED" : "ENABLED", state_reason: paused ? reason : "" };
}

export function pipeFacets(pipe: Pipe, saysState: boolean): Facets {
  return {
    ...(pipe.parameters ? parameterFacets(pipe.parameters) : {}),
    instance: pipe.instance,
    tags: pipe.tags,
    managed_by: pipe.managedBy,
    ...stateFacets(saysState, enumName(PipeState, pipe.state), pipe.stateReason),
  };
}

export function instanceFacets(instance: Instance, saysState: boolean): Facets {
  return {
    plugin: instance.plugin,
    version: instance.version,
    config: plain(instance.config ?? {}),
    grants: grantsFacet(instance.grants),
    tags: instance.tags,
    managed_by: instance.managedBy,
    ...stateFacets(saysState, enumName(InstanceState, instance.state), instance.stateReason),
  };
}

function grantsFacet(grants: Grants | undefined): unknown {
  if (grants?.allRequested) return "all";
  const only = Object.entries(grants?.only ?? {}).filter(
    ([, value]) => value === true || Object.keys(value).length > 0,
  );
  return only.length ? plain(Object.fromEntries(only)) : "none";
}

export function pollerFacets(poller: Poller, saysState: boolean): Facets {
  const { instance, schedule, timeout, filter, site, tags, managedBy } = poller;
  return {
    instance,
    kind: enumName(PollerKind, poller.kind).toLowerCase(),
    ...{ schedule, timeout, filter, site, tags, managed_by: managedBy },
    ...stateFacets(saysState, enumName(PollerState, poller.state), poller.stateReason),
  };
}

export function resourceFacets({
  id,
  site,
  subclass,
  type,
  endpoint,
  ttl,
  labels,
  managedBy,
  ...rest
}: Resource): Facets {
  return { id, site, class: rest.class, subclass, type, endpoint, ttl, labels: plain(labels), managed_by: managedBy };
}
