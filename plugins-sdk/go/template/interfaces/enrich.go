// What is behind an HTTP endpoint, kept as context of the resource.
package main

import "millrace"

func main() {}

//go:wasmexport enrich
func enrich() int32 { return millrace.Enrich(inspect) }

type server struct {
	Software    string `json:"software"`
	ContentType string `json:"content_type"`
}

func inspect(run *millrace.EnrichCall) error {
	reply, err := millrace.Get(run.Resource.Endpoint)
	if err != nil {
		return err
	}
	found := server{reply.Headers["server"], reply.Headers["content-type"]}
	run.Add(millrace.Document{Namespace: "server", Key: "http", Value: found})
	return nil
}
