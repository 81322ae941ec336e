package millrace

import (
	"encoding/base64"
	"time"
	"unicode/utf8"
)

// Socket is one request over TCP, TLS or UDP, to where plugin.json asks for and the operator grants.
type Socket struct {
	// Proto is "tcp", "tls" or "udp".
	Proto string
	Host  string
	Port  int
	Send  []byte
	// Until makes the answer whole when these bytes have come.
	Until []byte
	// Length makes it whole with so many bytes. Without both it is one datagram, or all until the other side ends.
	Length int
	// NoAnswer waits for none.
	NoAnswer bool
	Timeout  time.Duration
	// AnyCertificate takes what it is shown.
	AnyCertificate bool
}

// SocketReply is the answer.
type SocketReply struct {
	Data []byte
	// Closed tells whether the other side closed the connection.
	Closed  bool
	Elapsed time.Duration
}

// Exchange sends the request and waits for its answer.
func (s Socket) Exchange() (*SocketReply, error) {
	expect := map[string]any{}
	putBytes(expect, "until", s.Until)
	if s.Length > 0 || s.NoAnswer {
		expect["bytes"] = s.Length
	}
	request := map[string]any{"proto": s.Proto, "host": s.Host, "port": s.Port, "expect": expect}
	putBytes(request, "send", s.Send)
	if s.AnyCertificate {
		request["verify"] = false
	}
	putTimeout(request, s.Timeout)
	var got struct {
		Data      []byte  `json:"data_base64"`
		Closed    bool    `json:"closed"`
		ElapsedMs float64 `json:"elapsed_ms"`
	}
	if err := Call("socket", request, &got); err != nil {
		return nil, err
	}
	return &SocketReply{got.Data, got.Closed, time.Duration(got.ElapsedMs * float64(time.Millisecond))}, nil
}

func putBytes(request map[string]any, name string, bytes []byte) {
	if len(bytes) == 0 {
		return
	}
	if utf8.Valid(bytes) {
		request[name] = string(bytes)
	} else {
		request[name+"_base64"] = base64.StdEncoding.EncodeToString(bytes)
	}
}

func putTimeout(request map[string]any, timeout time.Duration) {
	if timeout > 0 {
		request["timeout_ms"] = timeout.Milliseconds()
	}
}

// Pinged tells whether something is there. That it is not, is an answer.
type Pinged struct {
	Reachable bool `json:"reachable"`
	// Reason is "timeout" or "unavailable".
	Reason      string       `json:"reason"`
	Message     string       `json:"message"`
	Address     string       `json:"address"`
	ConnectMs   float64      `json:"connect_ms"`
	HandshakeMs float64      `json:"handshake_ms"`
	Protocol    string       `json:"protocol"`
	Cipher      string       `json:"cipher"`
	Certificate *Certificate `json:"certificate"`
	// Sent to MaxMs are of icmp.
	Sent     int     `json:"sent"`
	Received int     `json:"received"`
	MinMs    float64 `json:"min_ms"`
	AvgMs    float64 `json:"avg_ms"`
	MaxMs    float64 `json:"max_ms"`
}

// Certificate is what a server showed, trusted or not.
type Certificate struct {
	Trusted     bool      `json:"trusted"`
	Problem     string    `json:"problem"`
	Subject     string    `json:"subject"`
	Issuer      string    `json:"issuer"`
	Names       []string  `json:"names"`
	ValidFrom   time.Time `json:"valid_from"`
	ValidUntil  time.Time `json:"valid_until"`
	DaysLeft    int       `json:"days_left"`
	Fingerprint string    `json:"fingerprint256"`
	Serial      string    `json:"serial"`
}

// Ping tries a connection: kind is "tcp", "tls" or "icmp" (port 0). timeout 0 is the host's default.
func Ping(kind, host string, port int, timeout time.Duration) (pinged Pinged, err error) {
	request := map[string]any{"kind": kind, "host": host}
	if port > 0 {
		request["port"] = port
	}
	putTimeout(request, timeout)
	err = Call("ping", request, &pinged)
	return
}

// SNMP is how a device is asked. Only Host must be there; a User makes it v3.
type SNMP struct {
	Host string
	// Port 0 is 161.
	Port int
	// Community of v2c is "public" when empty.
	Community string
	User      *SNMPUser
	// MaxValues of a walk is 1,000 when 0.
	MaxValues int
	Retries   int
	Timeout   time.Duration
}

// SNMPUser is of v3. The keys that are given decide the level.
type SNMPUser struct {
	Name string `json:"name"`
	// AuthProtocol is md5, sha, sha224, sha256, sha384 or sha512.
	AuthProtocol string `json:"auth_protocol,omitempty"`
	AuthKey      string `json:"auth_key,omitempty"`
	// PrivProtocol is des, aes, aes256b or aes256r.
	PrivProtocol string `json:"priv_protocol,omitempty"`
	PrivKey      string `json:"priv_key,omitempty"`
}

// SNMPValue is what a device said of an OID.
type SNMPValue struct {
	OID  string `json:"oid"`
	Type string `json:"type"`
	// Value is a string, a json.Number, or nil when there is nothing. Counter64 is a string.
	Value any `json:"value"`
	// Bytes are octets that are no text.
	Bytes []byte `json:"value_base64"`
}

// Get reads one value for each OID.
func (s SNMP) Get(oids ...string) ([]SNMPValue, error) {
	values, _, err := s.ask("get", oids)
	return values, err
}

// Walk reads everything below each OID; true: there was more than MaxValues.
func (s SNMP) Walk(oids ...string) ([]SNMPValue, bool, error) { return s.ask("walk", oids) }

func (s SNMP) ask(op string, oids []string) ([]SNMPValue, bool, error) {
	request := map[string]any{"op": op, "host": s.Host, "oids": oids}
	if s.Port > 0 {
		request["port"] = s.Port
	}
	if s.Community != "" {
		request["community"] = s.Community
	}
	if s.User != nil {
		request["version"], request["user"] = "3", s.User
	}
	if s.MaxValues > 0 {
		request["max_values"] = s.MaxValues
	}
	if s.Retries > 0 {
		request["retries"] = s.Retries
	}
	putTimeout(request, s.Timeout)
	var got struct {
		Values    []SNMPValue `json:"values"`
		Truncated bool        `json:"truncated"`
	}
	err := Call("snmp", request, &got)
	return got.Values, got.Truncated, err
}
