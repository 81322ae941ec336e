// Functions that other plugins may call.
package main

import (
	"millrace"
	"slices"
)

func main() {}

//go:wasmexport function:summarize
func summarize() int32 { return millrace.Function(summaryOf) }

type numbers struct {
	Values []float64 `json:"values"`
}

type summary struct {
	Count int     `json:"count"`
	Min   float64 `json:"min"`
	Max   float64 `json:"max"`
	Mean  float64 `json:"mean"`
}

func summaryOf(asked numbers) (summary, error) {
	sum := 0.0
	for _, value := range asked.Values {
		sum += value
	}
	count := len(asked.Values)
	return summary{count, slices.Min(asked.Values), slices.Max(asked.Values), sum / float64(count)}, nil
}
