// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// What each rule says: the problem, and what to write instead.
const (
	notAKeycardResource = "must be the name of a KeycardResource: lower-case letters, digits, '-' and '.', starting and ending with a letter or digit"
	notANamespace       = "must be the name of a namespace: lower-case letters, digits and '-', starting and ending with a letter or digit"
	notAServiceAccount  = "must be the name of a ServiceAccount: lower-case letters, digits, '-' and '.', starting and ending with a letter or digit"
	notASecret          = "must be the name of a Secret: lower-case letters, digits, '-' and '.', starting and ending with a letter or digit"
	notAKey             = "must be a key of a Secret: letters, digits, '-', '_' and '.'"
	notHTTPS            = "must use https; http is for loopback addresses only"
	badScope            = "must be a scope: visible ASCII without spaces, quotes, brackets and backslashes (RFC 6749 section 3.3)"
	addedByOperator     = "is added by the operator; remove it"
)

func TestCreate(t *testing.T) {
	for kind, tc := range map[string]struct {
		base string
		rows []row
	}{
		"KeycardResource":        {resourceYAML, resourceRows()},
		"ConfluenceTokenBinding": {bindingYAML, bindingRows()},
	} {
		t.Run(kind, func(t *testing.T) {
			for _, r := range tc.rows {
				t.Run(r.name, func(t *testing.T) {
					u := object(t, tc.base)
					r.change(t, u)
					r.check(t, api.Create(t.Context(), u, client.DryRunAll, client.FieldValidation("Strict")))
				})
			}
		})
	}
}

// updateRows are changes of a stored object: what identifies a remote object or a mounted Secret stays, the
// rest may change.
var updateRows = map[string]struct {
	base string
	rows []row
}{
	"KeycardResource": {resourceYAML, []row{
		{"nothing", "", "", ""},
		{"the same zone", "spec.zone.id", "zn-8f2c", ""},
		{"zone", "spec.zone.id", "another", breaks("spec.zone.id", "another", "is immutable; create another KeycardResource for another zone")},
		{"no zone id", "spec.zone.id", "", required("spec.zone.id")},
		{"the same catalog entry", "spec.catalogEntry", "confluence", ""},
		{"catalog entry", "spec.catalogEntry", "jira", breaks("spec.catalogEntry", "jira", "is immutable; create another KeycardResource for another catalog entry")},
		{"issuer", "spec.zone.issuer", "https://zone.example.com", ""},
		{"API URL", "spec.zone.apiURL", "https://api.example.com", ""},
		{"service account", "spec.zone.serviceAccountSecretRef.name", "another", ""},
		{"OAuth app", "spec.oauthAppSecretRef.name", "another", ""},
		{"scopes", "spec.scopes", "{set: [a]}", ""},
		{"namespaces", "spec.allowedNamespaces", "{from: All}", ""},
		{"adoption policy", "spec.adoptionPolicy", "Adopt", ""},
		{"deletion policy", "spec.deletionPolicy", "Delete", ""},
		{"suspend", "spec.suspend", "true", ""},
	}},
	"ConfluenceTokenBinding": {bindingYAML, []row{
		{"nothing", "", "", ""},
		{"the same Secret", "spec.secret.name", "token", ""},
		{"Secret", "spec.secret.name", "another", breaks("spec.secret.name", "another", "is immutable, because pods mount the Secret by name; create another ConfluenceTokenBinding for another Secret")},
		{"no Secret name", "spec.secret.name", "", required("spec.secret.name")},
		{"formats", "spec.secret.formats", "[Env]", ""},
		{"labels", "spec.secret.labels", "{a: b}", ""},
		{"annotations", "spec.secret.annotations", "{a: b}", ""},
		{"resource", "spec.resourceRef.name", "another", ""},
		{"resource's namespace", "spec.resourceRef.namespace", "another", ""},
		{"subject", "spec.subject", "{application: {}}", ""},
		{"application", "spec.application", "{serviceAccountName: me}", ""},
		{"scopes", "spec.scopes", "[a]", ""},
		{"site", "spec.site", `{url: "https://acme.atlassian.net"}`, ""},
		{"suspend", "spec.suspend", "true", ""},
	}},
}

func TestUpdate(t *testing.T) {
	for kind, tc := range updateRows {
		t.Run(kind, func(t *testing.T) {
			before := stored(t, "updated", tc.base)
			for _, r := range tc.rows {
				t.Run(r.name, func(t *testing.T) {
					u := before.DeepCopy()
					r.change(t, u)
					r.check(t, api.Update(t.Context(), u, client.DryRunAll, client.FieldValidation("Strict")))
				})
			}
		})
	}
}

// A field that was set may be removed again, unless it is required.
func TestUpdateRemoves(t *testing.T) {
	for name, tc := range map[string]struct{ base, path, value string }{
		"issuer":     {resourceYAML, "spec.zone.issuer", "https://zone.example.com"},
		"scopes":     {resourceYAML, "spec.scopes", "{add: [a]}"},
		"namespaces": {resourceYAML, "spec.allowedNamespaces", "{from: All}"},
		"site":       {bindingYAML, "spec.site", `{url: "https://acme.atlassian.net"}`},
		"formats":    {bindingYAML, "spec.secret.formats", "[Env]"},
		"suspend":    {bindingYAML, "spec.suspend", "true"},
	} {
		t.Run(name, func(t *testing.T) {
			u := stored(t, "removed", tc.base)
			set := row{path: tc.path, value: tc.value}
			set.change(t, u)
			set.check(t, api.Update(t.Context(), u))
			removed := row{path: tc.path}
			removed.change(t, u)
			removed.check(t, api.Update(t.Context(), u))
		})
	}
}

// Rows that several fields share. yaml has one verb, for the value in double quotes.

func nameRows(what, path, yaml, field, message string, limit int) []row {
	bad := func(name, value string) row {
		return row{what + " " + name, path, fmt.Sprintf(yaml, value), breaks(field, value, message)}
	}
	return []row{
		{what + " of one letter", path, fmt.Sprintf(yaml, "a"), ""},
		{what + " of full length", path, fmt.Sprintf(yaml, long(limit)), ""},
		{what + " one too long", path, fmt.Sprintf(yaml, long(limit+1)), tooLong(field, limit)},
		// A name that is empty breaks the rule of names too.
		{what + " empty", path, fmt.Sprintf(yaml, ""), lines(empty(field), breaks(field, "", message))},
		bad("in upper case", "Name"),
		bad("with a slash", "a/b"),
		bad("with an underscore", "a_b"),
		bad("with a hyphen first", "-a"),
		bad("with a dot last", "a."),
		bad("with a space", "a b"),
		bad("with a line end", "a\n"),
		bad("with a control character", "a\x07"),
		bad("in other letters", "zoë"),
	}
}

func originRows(what, field, example string) []row {
	notAnOrigin := "must be https:// and a host in ASCII, with a port of 1 to 65535 if need be, for example " + example +
		"; remove path, query, user and trailing slash"
	rows := []row{
		{what + " empty", field, `""`, lines(breaks(field, "", notAnOrigin), empty(field))},
		{what + " of 255", field, "https://" + long(247), ""},
		{what + " of 256", field, "https://" + long(248), tooLong(field, 255)},
		{what + " of the wrong type", field, "443", wrongType(field, "string", "integer")},
	}
	for name, value := range map[string]string{
		"host": "https://zone.example.com", "port": "https://zone.example.com:8443", "least port": "https://zone.example.com:1",
		"greatest port": "https://zone.example.com:65535", "upper-case host": "https://Zn8F2c.keycard.cloud",
		"punycode": "https://xn--zne-sna.example", "IPv4": "https://192.0.2.1", "IPv6": "https://[2001:db8::1]",
		"IPv6 and port": "https://[2001:db8::1]:8443", "loopback by http": "http://127.0.0.1", "loopback and port": "http://127.0.0.1:8090",
		"localhost": "http://localhost", "localhost and port": "http://localhost:8090", "IPv6 loopback": "http://[::1]",
		"IPv6 loopback and port": "http://[::1]:8090",
	} {
		rows = append(rows, row{what + ": " + name, field, strconv.Quote(value), ""})
	}
	for name, value := range map[string]string{
		"trailing slash": "https://zone.example.com/", "path": "https://zone.example.com/x", "query": "https://zone.example.com?x=1",
		"empty query": "https://zone.example.com?", "fragment": "https://zone.example.com#x", "user": "https://me@zone.example.com",
		"user and password": "https://me:pass@zone.example.com", "loopback as a user": "https://127.0.0.1@evil.example",
		"space": "https://zone example.com", "line end": "https://zone.example.com\n", "control character": "https://zone.example.com\x07",
		"nul": "https://zone.example.com\x00", "backslash": `https://zone.example.com\evil`, "other letters": "https://zöne.example",
		"no-width space": "https://zone.example.com\u200b", "quote": `https://zone.example.com"`, "placeholder": "https://<zone>.keycard.cloud",
		"variable": "https://$(ZONE)", "two hosts": "https://a.example,b.example", "percent": "https://zone%2eexample.com",
		"no scheme": "zone.example.com", "scheme in upper case": "HTTPS://zone.example.com", "ftp": "ftp://zone.example.com",
		"javascript": "javascript:alert(1)", "no host": "https://", "port without host": "https://:8443", "port 0": "https://zone.example.com:0",
		"port 65536": "https://zone.example.com:65536", "port of 30 digits": "https://zone.example.com:" + strings.Repeat("9", 30),
		"empty port": "https://zone.example.com:", "named port": "https://zone.example.com:https", "two dots": "https://zone..example.com",
		"dot last": "https://zone.example.com.", "hyphen first": "https://-zone.example.com", "IPv6 unclosed": "https://[::1",
		"not IPv6": "https://[zone]", "not quite IPv6": "https://[:::::]",
		"IPv6 zone": "https://[fe80::1%25eth0]",
	} {
		rows = append(rows, row{what + ": " + name, field, strconv.Quote(value), breaks(field, value, notAnOrigin)})
	}
	for name, value := range map[string]string{
		"http": "http://zone.example.com", "http and port 443": "http://zone.example.com:443", "like 127.0.0.1": "http://127.0.0.1.evil.example",
		"like localhost": "http://localhost.evil.example", "like localhost, and port": "http://localhost.evil.example:80",
		"localhost as a suffix": "http://evil.localhost", "another loopback address": "http://127.0.0.2", "like an IPv6 loopback": "http://[::11]",
		"any address": "http://0.0.0.0", "localhost in upper case": "http://LOCALHOST",
	} {
		rows = append(rows, row{what + ": " + name, field, strconv.Quote(value), breaks(field, value, notHTTPS)})
	}
	rows = append(rows, row{what + ": http and user", field, "http://127.0.0.1@evil.example", lines(
		breaks(field, "http://127.0.0.1@evil.example", notAnOrigin), breaks(field, "http://127.0.0.1@evil.example", notHTTPS))})
	slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.name, b.name) })
	return rows
}

func lines(l ...string) string {
	slices.Sort(l)
	return strings.Join(l, "\n")
}

// scopeRows are those of a list of scopes.
func scopeRows(what, path, yaml, field string) []row {
	list := func(scopes ...string) string {
		quoted := make([]string, len(scopes))
		for i, s := range scopes {
			quoted[i] = strconv.Quote(s)
		}
		return fmt.Sprintf(yaml, "["+strings.Join(quoted, ", ")+"]")
	}
	many := func(n int) string {
		scopes := make([]string, n)
		for i := range scopes {
			scopes[i] = fmt.Sprintf("s%d", i)
		}
		return list(scopes...)
	}
	rows := []row{
		{what + ": two", path, list("read:confluence-content.all", "search:confluence"), ""},
		{what + ": every character that may be in one", path, list("!#$%&'()*+,-./09:;<=>?@AZ^_`az{|}~"), ""},
		{what + ": none", path, list(), noItems(field)},
		{what + ": 50", path, many(50), ""},
		{what + ": 51", path, many(51), tooMany(field, 51, 50)},
		{what + ": of 128", path, list(long(128)), ""},
		{what + ": of 129", path, list("a", long(129)), tooLong(field+"[1]", 128)},
		{what + ": empty", path, list(""), lines(breaks(field+"[0]", "", badScope), empty(field+"[0]"))},
		{what + ": twice", path, list("a", "b", "a"), breaksIn(field, "lists a twice; remove one of them")},
		{what + ": in two letter cases", path, list("a", "A"), ""},
		{what + ": offline_access", path, list("a", "offline_access"), breaks(field+"[1]", "offline_access", addedByOperator)},
		{what + ": a number", path, fmt.Sprintf(yaml, "[1]"), wrongType(field+"[0]", "string", "integer")},
		{what + ": a string", path, fmt.Sprintf(yaml, "a b"), wrongType(field, "array", "string")},
	}
	for name, scope := range map[string]string{
		"space": "a b", "space last": "a ", "quote": `a"b`, "backslash": `a\b`, "bracket": "a[b]", "line end": "a\n", "tab": "a\tb",
		"control character": "a\x07", "other letters": "é", "no-width space": "a\u200b",
	} {
		rows = append(rows, row{what + ": with " + name, path, list("x", scope), breaks(field+"[1]", scope, badScope)})
	}
	return rows
}
