/** The columns of an Arrow stream, read from the flatbuffer of its schema message. Pure. */
import { Fault } from "../kit/fault.ts";
import type { ColumnType } from "./records.ts";

export interface ArrowColumn {
  readonly name: string;
  /** Ours; undefined for what has none: a union, an interval, a list of lists. */
  readonly type: ColumnType | undefined;
  /** A timestamp without a zone. */
  readonly naive: boolean;
}

const CONTINUATION = 0xffffffff;
const SCHEMA_HEADER = 1;
/** Fields of the tables, by their place in Schema.fbs and Message.fbs. */
const [HEADER_TYPE, HEADER] = [1, 2];
const FIELDS = 1;
const [NAME, TYPE_ID, TYPE, CHILDREN] = [0, 2, 3, 5];
const MAX_COLUMNS = 1_000;

/** Errors: `invalid` when the bytes do not begin with the schema of a stream. */
export function arrowColumns(bytes: Uint8Array): ArrowColumn[] {
  try {
    return readColumns(bytes);
  } catch (cause) {
    if (cause instanceof Fault) throw cause;
    throw noStream();
  }
}

const noStream = () =>
  new Fault("invalid", "these bytes are no Arrow stream: write the IPC streaming format, schema first, uncompressed");

function readColumns(bytes: Uint8Array): ArrowColumn[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== CONTINUATION) throw noStream();
  const message = tableAt(view, 8 + view.getUint32(8, true));
  const headerType = message.place(HEADER_TYPE);
  const header = message.place(HEADER);
  if (!headerType || view.getUint8(headerType) !== SCHEMA_HEADER || !header) throw noStream();
  const fields = vectorAt(view, tableAt(view, follow(view, header)).place(FIELDS));
  if (fields.length > MAX_COLUMNS) throw new Fault("invalid", `${fields.length} columns; at most ${MAX_COLUMNS}`);
  return fields.map((at) => columnOf(view, tableAt(view, at)));
}

function columnOf(view: DataView, field: Table): ArrowColumn {
  const name = field.place(NAME);
  const typeId = field.place(TYPE_ID);
  const type = field.place(TYPE);
  const children = vectorAt(view, field.place(CHILDREN)).map((at) => columnOf(view, tableAt(view, at)));
  const [ours, naive] = typeOf(view, typeId ? view.getUint8(typeId) : 0, type && follow(view, type), children);
  return { name: name ? textAt(view, follow(view, name)) : "", type: ours, naive };
}

/** Ids are those of the union `Type` in Schema.fbs. */
function typeOf(
  view: DataView,
  id: number,
  at: number | undefined,
  children: readonly ArrowColumn[],
): readonly [ColumnType | undefined, boolean] {
  const table = at === undefined ? undefined : tableAt(view, at);
  const int32 = (place: number, fallback: number) => {
    const found = table?.place(place);
    return found ? view.getInt32(found, true) : fallback;
  };
  switch (id) {
    case 2: {
      const signed = table?.place(1);
      return [int32(0, 0) === 64 && !(signed && view.getUint8(signed)) ? "uint64" : "int64", false];
    }
    case 3:
      return ["float64", false];
    case 4:
    case 5:
    case 19:
    case 20:
      return ["string", false];
    case 6:
      return ["bool", false];
    case 7:
      return [`decimal(${int32(0, 0)},${int32(1, 0)})`, false];
    case 8:
      return ["date", false];
    case 10:
      return ["timestamp", table?.place(1) === undefined];
    case 12:
    case 16:
    case 21: {
      const [element] = children;
      const nested = !element?.type || element.type === "json" || element.type.startsWith("array(");
      return [nested ? undefined : `array(${element.type})`, element?.naive ?? false];
    }
    case 13:
    case 17:
      return ["json", false];
    default:
      return [undefined, false];
  }
}

interface Table {
  /** Where a field is; undefined when it is not there and has its default. */
  place(field: number): number | undefined;
}

function tableAt(view: DataView, at: number): Table {
  const vtable = at - view.getInt32(at, true);
  const size = view.getUint16(vtable, true);
  return {
    place(field) {
      const entry = 4 + field * 2;
      const offset = entry < size ? view.getUint16(vtable + entry, true) : 0;
      return offset === 0 ? undefined : at + offset;
    },
  };
}

const follow = (view: DataView, at: number) => at + view.getUint32(at, true);

/** Places of the tables of a vector. */
function vectorAt(view: DataView, place: number | undefined): number[] {
  if (place === undefined) return [];
  const at = follow(view, place);
  const length = view.getUint32(at, true);
  if (length > view.byteLength / 4) throw noStream();
  return Array.from({ length }, (_, i) => follow(view, at + 4 + i * 4));
}

function textAt(view: DataView, at: number): string {
  const bytes = new Uint8Array(view.buffer, view.byteOffset + at + 4, view.getUint32(at, true));
  return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
}
