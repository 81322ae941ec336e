package main

// Each helper of the SDK for a host function, tried once.

import (
	"encoding/json"
	"millrace"
	"strconv"
	"time"
)

type places struct {
	Host   string `json:"host"`
	TCP    int    `json:"tcp"`
	UDP    int    `json:"udp"`
	TLS    int    `json:"tls"`
	SNMP   int    `json:"snmp"`
	Closed int    `json:"closed"`
	OID    string `json:"oid"`
	Table  string `json:"table"`
	URL    string `json:"url"`
}

type found = map[string]any

// must ends the call with the error.
func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func helped(at places) (found, error) {
	millrace.Log("warn", "with fields", found{"count": 3, "where": "Ålesund"})
	check(millrace.Metric{
		Name: "probe.size", Value: 1.5, Type: "counter", Dimensions: map[string]string{"unit": "°C"},
		Time: time.Date(2012, 1, 1, 0, 0, 0, 0, time.UTC),
	}.Send())
	check(millrace.Metric{Name: "probe.more", Value: 2}.Send())
	check(millrace.Publish("alarm.high", found{"n": 1}))
	check(millrace.Sleep(time.Millisecond))
	check(millrace.Progress(2, 2, "ferdig ☃"))
	out := found{"kv": stored(), "pages": paged()}

	line := millrace.Socket{Proto: "tcp", Host: at.Host, Port: at.TCP, Send: []byte("hello\r\n"), Until: []byte("\n")}
	out["tcp"] = string(must(line.Exchange()).Data)
	datagram := millrace.Socket{Proto: "udp", Host: at.Host, Port: at.UDP, Send: []byte{0, 255}, Timeout: 2 * time.Second}
	numbers := []int{}
	for _, one := range must(datagram.Exchange()).Data {
		numbers = append(numbers, int(one))
	}
	out["udp"] = numbers
	sealed := millrace.Socket{Proto: "tls", Host: at.Host, Port: at.TLS, Send: []byte("hi"), Length: 2}
	sealed.AnyCertificate = true
	out["tls"] = string(must(sealed.Exchange()).Data)

	out["there"] = must(millrace.Ping("tcp", at.Host, at.TCP, 0)).Reachable
	out["closed"] = must(millrace.Ping("tcp", at.Host, at.Closed, time.Second)).Reason
	out["certificate"] = must(millrace.Ping("tls", at.Host, at.TLS, 0)).Certificate.Subject
	device := millrace.SNMP{Host: at.Host, Port: at.SNMP, Community: "public"}
	out["snmp"] = must(device.Get(at.OID))[0].Value
	values, _, err := device.Walk(at.Table)
	check(err)
	out["below"] = len(values)

	port := must(millrace.ContextGet("", "port", "eth0"))
	out["context"], out["writer"] = port.Value, port.Instance
	keys := []string{}
	for _, one := range must(millrace.ContextList("", "port", "eth")) {
		keys = append(keys, one.Key)
	}
	out["keys"] = keys
	out["nothing"] = must(millrace.ContextGet("", "port", "none")).Value
	_, err = millrace.ContextGet("oven-2", "secret", "key")
	out["denied"] = millrace.CodeOf(err)

	var converted json.RawMessage
	check(millrace.CallFunctionWithin(5*time.Second, "units", "convert", map[string]int{"from": 2}, &converted))
	out["call"] = converted
	headers := map[string]string{"authorization": "Bearer " + millrace.Placeholder("token")}
	ask := millrace.Request{URL: at.URL, Method: "POST", Headers: headers, Body: []byte("hei")}
	out["http"] = string(must(millrace.Do(ask)).Body)
	out["plain"] = must(millrace.Secret("plain"))
	out["csv"] = must(millrace.EmitCSV("id,name\n1,å\n2,b\n"))
	return out, nil
}

func stored() found {
	check(millrace.KVPut("n", map[string]int{"n": 1}, millrace.TTL(time.Minute)))
	entry := must(millrace.KVGet("n"))
	check(millrace.KVUpdate("n", map[string]int{"n": 2}, entry.Revision, millrace.TTL(time.Minute)))
	stale := millrace.CodeOf(millrace.KVUpdate("n", 3, entry.Revision))
	taken := millrace.CodeOf(millrace.KVCreate("n", 4))
	swapped := must(millrace.KVGet("n")).Value
	check(millrace.KVDelete("n"))
	gone := must(millrace.KVGet("n")).Value
	return found{
		"value": entry.Value, "lives": entry.TTLMs > 0, "swapped": swapped, "stale": stale, "taken": taken, "gone": gone,
	}
}

func paged() []string {
	for n := 1; n <= 3; n++ {
		check(millrace.KVCreate("a:"+strconv.Itoa(n), n, millrace.TTL(time.Minute)))
	}
	keys, after := []string{}, ""
	for {
		entries, next, err := millrace.KVPage("a:", 2, after)
		check(err)
		for _, one := range entries {
			keys = append(keys, one.Key)
		}
		if next == "" {
			return keys
		}
		after = next
	}
}
