// What there is to poll: the sites of the config.
package main

import "millrace"

func main() {}

//go:wasmexport discover
func discover() int32 { return millrace.Discover(sites) }

func sites(run *millrace.DiscoverCall) error {
	var config struct {
		Sites []struct {
			ID  string `json:"id"`
			URL string `json:"url"`
		} `json:"sites"`
	}
	if err := run.Config(&config); err != nil {
		return err
	}
	for _, site := range config.Sites {
		run.Add(millrace.Resource{ID: site.ID, Type: "http", Endpoint: site.URL})
	}
	return nil
}
