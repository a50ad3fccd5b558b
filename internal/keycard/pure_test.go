// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	. "github.com/onsi/gomega"
	"pgregory.net/rapid"

	"github.com/keycardai/keycard-operator/internal/redacted"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	date := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	tests := map[string]struct {
		header http.Header
		want   time.Duration
		ok     bool
	}{
		"none":                  {http.Header{}, 0, false},
		"empty":                 {http.Header{"Retry-After": {""}}, 0, false},
		"seconds":               {http.Header{"Retry-After": {"120"}}, 2 * time.Minute, true},
		"seconds with space":    {http.Header{"Retry-After": {" 120 "}}, 2 * time.Minute, true},
		"zero":                  {http.Header{"Retry-After": {"0"}}, 0, true},
		"negative":              {http.Header{"Retry-After": {"-3"}}, 0, true},
		"fraction":              {http.Header{"Retry-After": {"1.5"}}, 1500 * time.Millisecond, true},
		"an hour":               {http.Header{"Retry-After": {"3600"}}, time.Hour, true},
		"more than an hour":     {http.Header{"Retry-After": {"3601"}}, time.Hour, true},
		"overflow":              {http.Header{"Retry-After": {strings.Repeat("9", 400)}}, time.Hour, true},
		"date":                  {http.Header{"Retry-After": {date(90 * time.Second)}}, 90 * time.Second, true},
		"past date":             {http.Header{"Retry-After": {date(-time.Hour)}}, 0, true},
		"far date":              {http.Header{"Retry-After": {date(48 * time.Hour)}}, time.Hour, true},
		"words":                 {http.Header{"Retry-After": {"soon"}}, 0, false},
		"infinity":              {http.Header{"Retry-After": {"Inf"}}, 0, false},
		"not a number":          {http.Header{"Retry-After": {"NaN"}}, 0, false},
		"hexadecimal":           {http.Header{"Retry-After": {"0x10"}}, 0, false},
		"signs only":            {http.Header{"Retry-After": {"--"}}, 0, false},
		"milliseconds":          {http.Header{"Retry-After-Ms": {"250"}}, 250 * time.Millisecond, true},
		"milliseconds first":    {http.Header{"Retry-After-Ms": {"250"}, "Retry-After": {"9"}}, 250 * time.Millisecond, true},
		"bad milliseconds":      {http.Header{"Retry-After-Ms": {"x"}, "Retry-After": {"9"}}, 9 * time.Second, true},
		"too many milliseconds": {http.Header{"Retry-After-Ms": {"999999999999"}}, time.Hour, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			got, ok := retryAfter(tc.header, now)
			g.Expect(ok).To(Equal(tc.ok))
			g.Expect(got).To(Equal(tc.want))
		})
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"120", "-1", "1e9", "Sun, 01 Mar 2026 12:00:00 GMT", "NaN", "0x1p-2", "", "999999999999999999999"} {
		f.Add(seed, "")
		f.Add("", seed)
	}
	f.Fuzz(func(t *testing.T, seconds, millis string) {
		d, ok := retryAfter(http.Header{"Retry-After": {seconds}, "Retry-After-Ms": {millis}}, observed)
		if d < 0 || d > time.Hour || !ok && d != 0 {
			t.Fatalf("%v, %v", d, ok)
		}
	})
}

func TestCleanDescription(t *testing.T) {
	const (
		opaque = "ATOAx7Qm2Vb9Kf4Lw8Tz1Rc6"
		uuid   = "3f2b8c1e-5d47-4a90-b6e2-9c01d8f7a345"
	)
	tests := map[string]struct{ text, want string }{
		"plain":            {"User consent is required", "User consent is required"},
		"policy denial":    {"Access denied by policy. Policy set: default-zone-policies. Policy set version: 12. Determining policies: default-user-grants.", "Access denied by policy. Policy set: default-zone-policies. Policy set version: 12. Determining policies: default-user-grants."},
		"names and URLs":   {`Application "urn:app:reports-production-eu-west-1" is not allowed to access "https://api.atlassian.com/ex/confluence".`, `Application "urn:app:reports-production-eu-west-1" is not allowed to access "https://api.atlassian.com/ex/confluence".`},
		"object id":        {"provider zq3p4k7m9x2c5v8b1n6l0j3h5g is gone", "provider zq3p4k7m9x2c5v8b1n6l0j3h5g is gone"},
		"service account":  {"system:serviceaccount:reports:reports-worker is unknown", "system:serviceaccount:reports:reports-worker is unknown"},
		"scopes":           {"unknown scope read:confluence-content.permission", "unknown scope read:confluence-content.permission"},
		"control":          {"a\x00b\r\nc\td\x1b[31m\u0085e\u202ef", "a b c d [31m e f"},
		"broken UTF-8":     {"a\xffb", "a b"},
		"markup":           {"<p>Sorry, <b>no</b></p><!-- secret --><br/>", "Sorry, no"},
		"script":           {`x<script src="evil">alert(1)</script>y`, "x alert(1) y"},
		"unfinished tag":   {"a <img src=x onerror=", "a"},
		"comparison":       {"5 < 6 and 7 > 6", "5 < 6 and 7 > 6"},
		"JWT":              {"bad token " + jwt(`{"sub":"a"}`), "bad token [redacted].[redacted].c2ln"},
		"opaque token":     {"token " + opaque + " expired", "token [redacted] expired"},
		"hexadecimal":      {"key 9f86d081884c7d659a2feaa0c55ad015 unknown", "key [redacted] unknown"},
		"base64":           {"key dGhpcyBpcyBhIHNlY3JldCB0aGF0IGlzIGxvbmc= unknown", "key [redacted] unknown"},
		"few digits":       {"key coapdjchicou4bm3vgyxrdozqn5ivtwgmobvkiyf unknown", "key [redacted] unknown"},
		"very long word":   {strings.Repeat("a", 64), "[redacted]"},
		"request id":       {"oops (request id: req_01HX) try later", "oops (request id [id]) try later"},
		"requestId member": {`oops "requestId":"abc"`, `oops "requestId [id]"`},
		"uuid":             {"oops " + uuid, "oops [redacted]"},
		"time":             {"expired at 2026-03-01T12:00:00.123Z, and 2026-03-01 12:00", "expired at [time], and [time]"},
		"known secret":     {"secret hunter-2-hunter is wrong", "secret [redacted] is wrong"},
		"split secret":     {"hunter-2<b>-hunter</b>", "hunter-2 -hunter"},
		"short secret":     {"abc is wrong", "abc is wrong"},
	}
	secrets := []redacted.String{redacted.New("hunter-2-hunter"), redacted.New("abc"), {}}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			g.Expect(cleanDescription(tc.text, secrets)).To(Equal(tc.want))
		})
	}
	t.Run("cut by runes", func(t *testing.T) {
		g := NewWithT(t)
		got := cleanDescription(strings.Repeat("é ", 400), nil)
		g.Expect(utf8.RuneCountInString(got)).To(Equal(300))
		g.Expect(got).To(HaveSuffix("…"))
		g.Expect(cleanDescription(strings.TrimSpace(strings.Repeat("é ", 150)), nil)).NotTo(HaveSuffix("…"))
	})
}

func TestCleanCode(t *testing.T) {
	secrets := []redacted.String{redacted.New("client-secret")}
	tests := map[string]struct{ text, code, requestID string }{
		"oauth code":   {"invalid_client", "invalid_client", "invalid_client"},
		"known":        {"insufficient_authorization", "insufficient_authorization", "insufficient_authorization"},
		"uuid":         {"3f2b8c1e-5d47-4a90-b6e2-9c01d8f7a345", "", "3f2b8c1e-5d47-4a90-b6e2-9c01d8f7a345"},
		"sentence":     {"it went wrong", "", ""},
		"control":      {"a\nb", "", ""},
		"markup":       {"<b>", "", ""},
		"long":         {strings.Repeat("a", 65), "", ""},
		"JWT":          {"eyJhbGciOiJub25lIn0.e30.", "", ""},
		"known secret": {"x-client-secret-x", "", ""},
		"empty":        {"", "", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			g.Expect(cleanCode(tc.text, secrets)).To(Equal(tc.code))
			g.Expect(cleanRequestID(tc.text, secrets)).To(Equal(tc.requestID))
		})
	}
}

// TestRandomTokensAreMasked draws tokens as servers do: every character at random.
func TestRandomTokensAreMasked(t *testing.T) {
	const digits, lower, upper = "0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	kinds := map[string]struct {
		alphabet string
		length   int
	}{
		"base64url":   {digits + lower + upper + "-_", 43},
		"base64":      {digits + lower + upper + "+=", 44},
		"hexadecimal": {digits + "abcdef", 40},
		"letters":     {lower + upper, 48},
		"lower case":  {digits + lower, 40},
	}
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
				token := make([]byte, kind.length)
				for i := range token {
					token[i] = kind.alphabet[random.IntN(len(kind.alphabet))]
				}
				if got := cleanDescription("the token "+string(token)+" is bad", nil); got != "the token [redacted] is bad" {
					t.Fatalf("%q gives %q", token, got)
				}
			})
		})
	}
}

func FuzzErrorBody(f *testing.F) {
	for _, seed := range []string{
		`{"error":"access_denied","error_description":"Access denied by policy.","requestId":"r-1"}`,
		`{"message":"in use","code":"conflict","status":409}`, `{"error":{"code":"x"}}`, `null`, `[]`, `<html>`, ``,
		`{"error_description":"hunter-2-hunter <b>\u0000 eyJhbGciOiJub25lIn0.e30."}`,
	} {
		f.Add(400, []byte(seed))
		f.Add(503, []byte(seed))
	}
	secret := redacted.New("hunter-2-hunter")
	tr := &transport{options: Options{}.withDefaults()}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if status < 400 || status > 599 {
			return
		}
		c := call{op: "testing", secrets: []redacted.String{secret}}
		e := tr.answerError(c, answer{status: status, header: http.Header{}, body: body})
		if e.Class == "" || e.Status != status {
			t.Fatalf("%#v", e)
		}
		for _, text := range []string{e.Error(), e.Code, e.Description, e.RequestID} {
			if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) || utf8.RuneCountInString(text) > 400 {
				t.Fatalf("%q", text)
			}
			if strings.Contains(text, secret.Reveal()) {
				t.Fatalf("the secret is in %q", text)
			}
		}
		if again := tr.answerError(c, answer{status: status, header: http.Header{}, body: body}); again.Error() != e.Error() {
			t.Fatalf("%q and %q", again, e)
		}
	})
}

func FuzzMetadata(f *testing.F) {
	issuer, err := url.Parse("https://z1.keycard.cloud")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		`{"issuer":"https://z1.keycard.cloud","token_endpoint":"https://z1.keycard.cloud/oauth/2/token"}`,
		`{"issuer":"https://z1.keycard.cloud/","token_endpoint":"https://z1.keycard.cloud:443/t","authorization_endpoint":"https://x/a"}`,
		`{"issuer":"https://z1.keycard.cloud","token_endpoint":"https://z1.keycard.cloud@evil.example/t"}`,
		`{"issuer":"https://z1.keycard.cloud","token_endpoint":"https:\\\\evil.example/z1.keycard.cloud"}`,
		`{"issuer":"x"}`, `{}`, `[]`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := Options{}.parseMetadata(body, issuer)
		if err != nil {
			if e, ok := AsError(err); !ok || e.Class == "" || strings.ContainsFunc(e.Error(), unicode.IsControl) {
				t.Fatalf("%#v", err)
			}
			return
		}
		if !staysOn(m.TokenEndpoint, "z1.keycard.cloud") {
			t.Fatalf("credentials would go to %q", m.TokenEndpoint)
		}
		if m.AuthorizationEndpoint != "" && !strings.HasPrefix(strings.ToLower(m.AuthorizationEndpoint), "https://") {
			t.Fatalf("a browser would be sent to %q", m.AuthorizationEndpoint)
		}
	})
}

// staysOn judges the request that would be made, not the text of its URL.
func staysOn(endpoint, host string) bool {
	req, err := http.NewRequest(http.MethodPost, endpoint, http.NoBody)
	if err != nil {
		return true // no request can be made to it
	}
	port := req.URL.Port()
	return req.URL.Scheme == "https" && strings.EqualFold(req.URL.Hostname(), host) && (port == "" || port == "443")
}

func TestDescribeConnection(t *testing.T) {
	dial := func(err error) error {
		return &url.Error{Op: "Post", URL: "https://z1.keycard.cloud/t", Err: &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 40123}, Err: err}}
	}
	tests := map[string]struct {
		err   error
		text  string
		class Class
	}{
		"refused":         {dial(os.NewSyscallError("connect", syscall.ECONNREFUSED)), "connection refused", Transient},
		"reset":           {dial(os.NewSyscallError("read", syscall.ECONNRESET)), "connection reset by peer", Transient},
		"unreachable":     {dial(os.NewSyscallError("connect", syscall.ENETUNREACH)), "network is unreachable", Transient},
		"dial timeout":    {dial(os.ErrDeadlineExceeded), "timed out", Transient},
		"deadline":        {fmt.Errorf("x: %w", context.DeadlineExceeded), "timed out", Transient},
		"cancelled":       {fmt.Errorf("x: %w", context.Canceled), "cancelled", Transient},
		"no such host":    {dial(&net.DNSError{Err: "no such host", Name: "z1.keycard.cloud", Server: "10.96.0.10:53", IsNotFound: true}), "host z1.keycard.cloud not found", Transient},
		"resolver":        {dial(&net.DNSError{Err: "server misbehaving", Name: "z1.keycard.cloud", Server: "10.96.0.10:53"}), "host z1.keycard.cloud could not be resolved", Transient},
		"resolver slow":   {dial(&net.DNSError{Err: "i/o timeout", Name: "z1.keycard.cloud", IsTimeout: true}), "timed out", Transient},
		"closed":          {&url.Error{Op: "Get", URL: "https://x", Err: io.EOF}, "the connection closed before the answer was complete", Transient},
		"anything else":   {errors.New("proxy user:password refused"), "connection failed", Transient},
		"expired":         {&tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}}, "the server's certificate has expired or is not yet valid", Misconfigured},
		"other authority": {&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, "the server's certificate is signed by an unknown authority; is its CA configured?", Misconfigured},
		"not a CA":        {&tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign}}, "the server's certificate is not valid", Misconfigured},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			e := connectionError(context.Background(), "testing", tc.err)
			g.Expect(e.Description).To(Equal(tc.text))
			g.Expect(e.Class).To(Equal(tc.class))
			g.Expect(errors.Is(e, tc.err)).To(BeTrue())
			g.Expect(e.Error()).NotTo(MatchRegexp(`10\.|40123|password`))
		})
	}
}

func TestErrorText(t *testing.T) {
	tests := map[string]struct {
		err  *Error
		want string
	}{
		"all":            {&Error{Op: "doing", Status: 400, Code: "c", Description: "d", RequestID: "r", RetryAfter: time.Second, Err: io.EOF}, "doing: c: d"},
		"no code":        {&Error{Op: "doing", Status: 400, Description: "d"}, "doing: HTTP 400: d"},
		"no description": {&Error{Op: "doing", Status: 400, Code: "c"}, "doing: c"},
		"no answer":      {&Error{Op: "doing", Description: "d"}, "doing: d"},
		"nothing":        {&Error{}, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			g.Expect(tc.err.Error()).To(Equal(tc.want))
		})
	}
}

func TestErrorHelpers(t *testing.T) {
	g := NewWithT(t)
	inner := &Error{Op: "doing", Status: 404, Class: Denied, Err: io.EOF}
	wrapped := fmt.Errorf("outer: %w", inner)

	found, ok := AsError(wrapped)
	g.Expect(ok).To(BeTrue())
	g.Expect(found).To(BeIdenticalTo(inner))
	_, ok = AsError(io.EOF)
	g.Expect(ok).To(BeFalse())
	_, ok = AsError(nil)
	g.Expect(ok).To(BeFalse())

	g.Expect(ClassOf(nil)).To(BeEmpty())
	g.Expect(ClassOf(wrapped)).To(Equal(Denied))
	g.Expect(ClassOf(io.EOF)).To(Equal(Transient))
	g.Expect(IsNotFound(wrapped)).To(BeTrue())
	g.Expect(IsNotFound(io.EOF)).To(BeFalse())
	g.Expect(IsConflict(wrapped)).To(BeFalse())
	g.Expect(IsConflict(&Error{Status: 409})).To(BeTrue())
	g.Expect(errors.Is(wrapped, io.EOF)).To(BeTrue())

	encoded, err := json.Marshal(&Error{Op: "doing", Err: errors.New("inner-detail")})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(encoded)).NotTo(ContainSubstring("inner-detail"))
}
