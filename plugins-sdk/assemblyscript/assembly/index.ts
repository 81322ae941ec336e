/** Everything a plugin author imports from "@millrace/assemblyscript". */
export { now, random } from "./abi";
export { decodeBase64, encodeBase64 } from "./base64";
export { answer, answerWith, readBytes, readCall, sendBytes } from "./call";
export { Fault, fail, failWith } from "./fault";
export { FetchCall, Pipe, RegisterCall, Window } from "./fetch";
export { call, checkpoint, log, metric, progress, publish, Reply } from "./host";
export { callFunction, FunctionCall } from "./function";
export { httpGet, HttpReply, HttpRequest } from "./http";
export { Json, JsonKind } from "./json";
export { JsonWriter } from "./json-writer";
export { kvCreate, kvDelete, kvGet, kvList, kvPut, kvUpdate } from "./kv";
export { ping, Snmp, SocketReply, SocketRequest } from "./network";
export { DiscoverCall, Metrics, PollCall, Resource } from "./poll";
export { Query, QueryReply } from "./query";
export { RouteCall } from "./route";
export { Emitter, Rows, RowWriter } from "./rows";
export { DAY_US, formatDate, formatTime, NO_TIME, parseTime, SECOND_US } from "./time";
export { decodeUtf8, encodeUtf8 } from "./utf8";
