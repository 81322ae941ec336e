// Answers over HTTP: `GET /greet/{name}?with=hei`.
package main

import "millrace"

func main() {}

//go:wasmexport route
func route() int32 { return millrace.Route(greet) }

func greet(call *millrace.RouteCall) error {
	greeting := call.Query("with", "hello") + ", " + call.Params["name"]
	return call.SendJSON(200, map[string]string{"greeting": greeting})
}
