/** Read-only SQL on the tables that the manifest asks for and the operator grants. */
import { call, Reply } from "./host";
import { Json } from "./json";

export class Query {
  private params: Json = Json.object();
  /** 0: the host's default. */
  maxRows: i32 = 0;

  /** Placeholders are ClickHouse's: `WHERE city = {city:String}`. Never build SQL from input. */
  constructor(public readonly sql: string) {}

  text(name: string, value: string): this {
    this.params.set(name, Json.text(value));
    return this;
  }
  integer(name: string, value: i64): this {
    this.params.set(name, Json.integer(value));
    return this;
  }
  number(name: string, value: f64): this {
    this.params.set(name, Json.number(value));
    return this;
  }

  run(): QueryReply {
    const request = Json.object().set("sql", Json.text(this.sql)).set("params", this.params);
    if (this.maxRows > 0) request.set("max_rows", Json.integer(this.maxRows));
    return new QueryReply(call("query", request));
  }
}

export class QueryReply extends Reply {
  constructor(reply: Reply) {
    super(reply.ok, reply.fault);
  }
  /** Arrays of values, in the order of the columns. */
  get rows(): Json {
    return this.ok.get("rows");
  }
  /** The rows as objects with the columns' names as keys. */
  get objects(): Json {
    const columns = this.ok.get("columns");
    const objects = Json.array();
    for (let r = 0; r < this.rows.length; r++) {
      const row = this.rows.at(r);
      const object = Json.object();
      for (let c = 0; c < columns.length; c++) object.set(columns.at(c).get("name").asText(), row.at(c));
      objects.add(object);
    }
    return objects;
  }
}
