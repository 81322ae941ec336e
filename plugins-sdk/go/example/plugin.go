// Entries of RSS and Atom feeds, as rows.
package main

import (
	"encoding/xml"
	"millrace"
	"strings"
	"time"
)

func main() {}

//go:wasmexport fetch
func fetch() int32 { return millrace.Fetch(entries) }

type row struct {
	Published time.Time `json:"published"`
	ID        string    `json:"id"`
	Feed      string    `json:"feed"`
	Title     string    `json:"title"`
	Link      string    `json:"link"`
	Author    string    `json:"author,omitempty"`
}

func entries(run *millrace.FetchCall) error {
	var config struct {
		Feeds []string `json:"feeds"`
	}
	if err := run.Config(&config); err != nil {
		return err
	}
	var failure error
	failed, found := 0, 0
	for i, url := range config.Feeds {
		rows, err := read(url)
		if err != nil {
			millrace.Log("warn", err.Error(), map[string]any{"feed": url})
			failure = err
			failed++
		}
		for _, row := range rows {
			if !run.Has(row.Published) {
				continue
			}
			if err := run.Emit(row); err != nil {
				return err
			}
			found++
		}
		_ = millrace.Progress(float64(i+1), float64(len(config.Feeds)), url)
	}
	switch {
	case failed > 0 && failed == len(config.Feeds):
		return failure
	case failed > 0:
		return run.Partial()
	case found == 0:
		return run.NoData()
	}
	return nil
}

// feed is both kinds at once: RSS has a channel with items, Atom has entries at its root.
type feed struct {
	Items   []item  `xml:"channel>item"`
	Entries []entry `xml:"entry"`
}

type item struct {
	GUID      string `xml:"guid"`
	Link      string `xml:"link"`
	Title     string `xml:"title"`
	Published string `xml:"pubDate"`
	Author    string `xml:"creator"`
}

type entry struct {
	ID        string `xml:"id"`
	Title     string `xml:"title"`
	Published string `xml:"published"`
	Updated   string `xml:"updated"`
	Author    string `xml:"author>name"`
	Links     []struct {
		Href string `xml:"href,attr"`
		Rel  string `xml:"rel,attr"`
	} `xml:"link"`
}

func read(url string) ([]row, error) {
	got, err := millrace.Get(url)
	if err != nil {
		return nil, err
	}
	if err := got.Err(); err != nil {
		return nil, err
	}
	var read feed
	if err := xml.Unmarshal(got.Body, &read); err != nil {
		return nil, millrace.Fail("bad_feed", "%s is no feed: %v", url, err)
	}
	var rows []row
	for _, one := range read.Items {
		published, err := timeOf(one.Published)
		if err == nil {
			id := one.GUID
			if id == "" {
				id = one.Link
			}
			rows = append(rows, row{published, id, url, strings.TrimSpace(one.Title), one.Link, one.Author})
		}
	}
	for _, one := range read.Entries {
		written := one.Published
		if written == "" {
			written = one.Updated
		}
		if published, err := timeOf(written); err == nil {
			rows = append(rows, row{published, one.ID, url, strings.TrimSpace(one.Title), one.link(), one.Author})
		}
	}
	return rows, nil
}

func (e *entry) link() string {
	for _, link := range e.Links {
		if link.Rel == "" || link.Rel == "alternate" {
			return link.Href
		}
	}
	return ""
}

func timeOf(text string) (t time.Time, err error) {
	for _, layout := range []string{time.RFC3339, time.RFC1123Z, time.RFC1123, "2 Jan 2006 15:04:05 -0700"} {
		if t, err = time.Parse(layout, strings.TrimSpace(text)); err == nil {
			return t.UTC(), nil
		}
	}
	return
}
