// Whether an HTTP endpoint answers, with what status and how fast.
package main

import (
	"millrace"
	"time"
)

func main() {}

//go:wasmexport poll
func poll() int32 { return millrace.Poll(measure) }

const timeout = 5 * time.Second

func measure(run *millrace.PollCall) error {
	url := run.Resource.Endpoint
	reply, err := millrace.Do(millrace.Request{URL: url, Timeout: timeout})
	switch millrace.CodeOf(err) {
	case "unavailable", "deadline":
		// An endpoint that is down is what we came to measure; anything else is our own trouble.
		run.Group("http").Dimension("url", url).Gauge("up", 0)
		return nil
	}
	if err != nil {
		return err
	}
	up := 0.0
	if reply.OK() {
		up = 1
	}
	http := run.Group("http").Dimension("url", url)
	http.Gauge("up", up).Gauge("status", float64(reply.Status)).Gauge("latency_ms", reply.Elapsed.Seconds()*1000)
	return nil
}
