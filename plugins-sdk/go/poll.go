package millrace

import (
	"encoding/json"
	"time"
)

// Resource is something to poll. Discover makes them; Labels travel with them to the polls.
type Resource struct {
	// Name is given by the platform.
	Name string `json:"name,omitempty"`
	ID   string `json:"id"`
	Type string `json:"type"`
	// Endpoint is where it is: a URL, an address.
	Endpoint string            `json:"endpoint"`
	Site     string            `json:"site,omitempty"`
	Class    string            `json:"class,omitempty"`
	Subclass string            `json:"subclass,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	TTL      string            `json:"ttl,omitempty"`
}

// PollCall is one call for the metrics of a resource.
type PollCall struct {
	Resource Resource
	Attempt  int

	config, previous, context json.RawMessage
	groups                    []*Group
	status                    string
}

// Group is values that were measured together, with their dimensions.
type Group struct {
	Name       string            `json:"group"`
	Time       string            `json:"time,omitempty"`
	Dimensions map[string]string `json:"dimensions"`
	Values     map[string]value  `json:"values"`
}

type value struct {
	Value float64 `json:"value"`
	Type  string  `json:"type"`
}

// Poll answers the export "poll".
func Poll(run func(*PollCall) error) int32 {
	return guarded(func() int32 {
		var input struct {
			Resource Resource        `json:"resource"`
			Config   json.RawMessage `json:"config"`
			Previous json.RawMessage `json:"previous"`
			Context  json.RawMessage `json:"context"`
			Attempt  int             `json:"attempt"`
		}
		read(&input)
		call := &PollCall{
			Resource: input.Resource, Attempt: input.Attempt,
			config: input.Config, previous: input.Previous, context: input.Context, groups: []*Group{}, status: "ok",
		}
		err := run(call)
		return end(map[string]any{"metrics": call.groups, "status": call.status}, err)
	})
}

// Config reads the instance's config into a struct.
func (c *PollCall) Config(into any) error { return readConfig(c.config, into) }

// Previous reads what the poll before answered with; false when there is none.
func (c *PollCall) Previous(into any) bool {
	return len(c.previous) > 0 && string(c.previous) != "null" && decode(c.previous, into) == nil
}

// Context reads the documents about the resource, by namespace and key, into a struct or map of maps: those of the
// namespaces that plugin.json lists for poll.
func (c *PollCall) Context(into any) error {
	if len(c.context) == 0 {
		return nil
	}
	if err := decode(c.context, into); err != nil {
		return Fail("bad_context", "%v", err)
	}
	return nil
}

// Group starts a group, measured at the time of the poll unless At says otherwise.
func (c *PollCall) Group(name string) *Group {
	group := &Group{Name: name, Dimensions: map[string]string{}, Values: map[string]value{}}
	c.groups = append(c.groups, group)
	return group
}

// Partial says that some of what was to be measured is there, and the rest failed.
func (c *PollCall) Partial() error { c.status = "partial"; return nil }

// At sets the time that the values of the group are of.
func (g *Group) At(t time.Time) *Group {
	g.Time = FormatTime(t)
	return g
}

// Dimension says what the values are of.
func (g *Group) Dimension(name, value string) *Group {
	g.Dimensions[name] = value
	return g
}

// Gauge is a value that goes up and down.
func (g *Group) Gauge(name string, number float64) *Group {
	g.Values[name] = value{number, "gauge"}
	return g
}

// Counter is a value that only grows, save for restarts: rates are made of it.
func (g *Group) Counter(name string, number float64) *Group {
	g.Values[name] = value{number, "counter"}
	return g
}

// DiscoverCall is one call for the resources there are.
type DiscoverCall struct {
	Site   string
	config json.RawMessage
	found  []Resource
	some   bool
}

// Discover answers the export "discover". What `run` adds is complete (resources that are not among it may be removed)
// unless it says Incomplete.
func Discover(run func(*DiscoverCall) error) int32 {
	return guarded(func() int32 {
		var input struct {
			Config json.RawMessage `json:"config"`
			Site   string          `json:"site"`
		}
		read(&input)
		call := &DiscoverCall{Site: input.Site, config: input.Config, found: []Resource{}}
		err := run(call)
		return end(map[string]any{"resources": call.found, "complete": !call.some}, err)
	})
}

// Config reads the instance's config into a struct.
func (c *DiscoverCall) Config(into any) error { return readConfig(c.config, into) }

// Add adds a resource.
func (c *DiscoverCall) Add(resource Resource) { c.found = append(c.found, resource) }

// Incomplete says that there may be more: nothing is removed.
func (c *DiscoverCall) Incomplete() { c.some = true }
