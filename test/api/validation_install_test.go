// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"fmt"
	"slices"
	"strings"
)

const (
	notAConfigMap    = "must be the name of a ConfigMap: lower-case letters, digits, '-' and '.', starting and ending with a letter or digit"
	notAConfigMapKey = "must be a key of a ConfigMap: letters, digits, '-', '_' and '.'"
	oneOfBundles     = "exactly one of the fields in [configMapKeyRef secretKeyRef] must be set"
	notAnApplication = "must be an application's identifier: visible ASCII without spaces, '<' and '>'"
	notAPolicyName   = "must be lower-case letters, digits and '-', starting and ending with a letter or digit"
	notAnIssuer      = "must be the issuer exactly as in the tokens: https:// and a host, without user, query and fragment"
	notAJWKSURI      = "must be https:// and a host, without user and fragment"

	bundle        = "spec.zone.caBundle"
	issuerField   = "spec.workloadRegistration.issuer"
	jwksField     = "spec.workloadRegistration.jwksURI"
	onePolicy     = "[{name: %q, cedar: c}]"
	oneIdentifier = "[{identifier: %q}]"
)

// installRows are those of what an install does besides the resource itself.
func installRows() []row {
	return slices.Concat(
		bundleRows(), applicationRows(), policyRows(), workloadRows(),
		[]row{
			{"management: manage", "spec.managementPolicy", "Manage", ""},
			{"management: observe", "spec.managementPolicy", "Observe", ""},
			{"management: adopt", "spec.managementPolicy", "AdoptOnly", unsupported("spec.managementPolicy", "AdoptOnly", `"Manage", "Observe"`)},
		},
	)
}

func bundleRows() []row {
	rows := []row{
		{"a bundle of a ConfigMap", bundle, "{configMapKeyRef: {name: ca, key: ca.crt}}", ""},
		{"a bundle of a Secret", bundle, "{secretKeyRef: {name: ca, key: ca.crt}}", ""},
		{"a bundle of neither", bundle, "{}", breaksIn(bundle, oneOfBundles)},
		{"a bundle of both", bundle, "{configMapKeyRef: {name: a, key: b}, secretKeyRef: {name: a, key: b}}", breaksIn(bundle, oneOfBundles)},
	}
	for kind, messages := range map[string][2]string{"configMapKeyRef": {notAConfigMap, notAConfigMapKey}, "secretKeyRef": {notASecret, notAKey}} {
		field := bundle + "." + kind
		rows = append(rows, nameRows("the bundle's "+kind, bundle, "{"+kind+": {name: %q, key: k}}", field+".name", messages[0], 253)...)
		rows = append(rows,
			row{kind + " without a name", bundle, "{" + kind + ": {key: k}}", required(field + ".name")},
			row{kind + " without a key", bundle, "{" + kind + ": {name: ca}}", required(field + ".key")},
			row{kind + " with an empty key", bundle, "{" + kind + `: {name: ca, key: ""}}`, lines(empty(field+".key"), breaks(field+".key", "", messages[1]))},
			row{kind + " with a long key", bundle, "{" + kind + ": {name: ca, key: " + long(254) + "}}", tooLong(field+".key", 253)},
			row{kind + " with a path for a key", bundle, "{" + kind + ": {name: ca, key: a/b}}", breaks(field+".key", "a/b", messages[1])},
		)
	}
	slices.SortFunc(rows, byName)
	return rows
}

func applicationRows() []row {
	const field = "spec.applications"
	bad := func(name, value string) row {
		return row{"application with " + name, field, fmt.Sprintf(oneIdentifier, value), breaks(field+"[0].identifier", value, notAnApplication)}
	}
	return []row{
		{"applications", field, "[{identifier: urn:app:reports}, {identifier: 'https://app.example/x?y=z#1'}]", ""},
		{"no application", field, "[]", noItems(field)},
		{"100 applications", field, list(100, "{identifier: a%d}"), ""},
		{"101 applications", field, list(101, "{identifier: a%d}"), tooMany(field, 101, 100)},
		{"an application twice", field, "[{identifier: a}, {identifier: a}]", field + `[1]: Duplicate value: {"identifier":"a"}`},
		{"application without an identifier", field, "[{}]", required(field + "[0].identifier")},
		{"application in one word", field, "[a]", lines(wrongType(field+"[0]", "object", "string"), field+`[0]: Invalid value: "a": must be an object for an array of list-type map`)},
		{"application of 2048", field, fmt.Sprintf(oneIdentifier, long(2048)), ""},
		{"application of 2049", field, fmt.Sprintf(oneIdentifier, long(2049)), tooLong(field+"[0].identifier", 2048)},
		{"application empty", field, fmt.Sprintf(oneIdentifier, ""), lines(empty(field+"[0].identifier"), breaks(field+"[0].identifier", "", notAnApplication))},
		bad("a space", "a b"), bad("a tag", "<b>"), bad("a line end", "a\n"), bad("other letters", "zoë"),
	}
}

func policyRows() []row {
	const field = "spec.policies"
	rows := nameRows("policy", field, onePolicy, field+"[0].name", notAPolicyName, 63)
	return append(rows,
		row{"policies", field, "[{name: a, cedar: 'permit (principal, action, resource);'}, {name: b, cedar: x}]", ""},
		row{"no policy", field, "[]", noItems(field)},
		row{"32 policies", field, list(32, "{name: a%d, cedar: c}"), ""},
		row{"33 policies", field, list(33, "{name: a%d, cedar: c}"), tooMany(field, 33, 32)},
		row{"a policy twice", field, "[{name: a, cedar: c}, {name: a, cedar: d}]", field + `[1]: Duplicate value: {"name":"a"}`},
		row{"policy without a name", field, "[{cedar: c}]", required(field + "[0].name")},
		row{"policy without a text", field, "[{name: a}]", required(field + "[0].cedar")},
		row{"policy with an empty text", field, `[{name: a, cedar: ""}]`, empty(field + "[0].cedar")},
		row{"policy of 16384", field, "[{name: a, cedar: " + long(16384) + "}]", ""},
		row{"policy of 16385", field, "[{name: a, cedar: " + long(16385) + "}]", tooLong(field+"[0].cedar", 16384)},
	)
}

func workloadRows() []row {
	rows := []row{
		{"workloads", "spec.workloadRegistration", "{}", ""},
		{"workloads in words", "spec.workloadRegistration", "true", wrongType("spec.workloadRegistration", "object", "boolean")},
	}
	for field, message := range map[string]string{issuerField: notAnIssuer, jwksField: notAJWKSURI} {
		name := field[len("spec.workloadRegistration."):]
		value := func(v string) string { return fmt.Sprintf("%q", v) }
		rows = append(rows,
			row{name, field, value("https://oidc.eks.eu-west-1.amazonaws.com/id/ABC"), ""},
			row{name + " in the cluster", field, value("https://kubernetes.default.svc.cluster.local"), ""},
			row{name + " with a port", field, value("https://127.0.0.1:6443/openid/v1/jwks"), ""},
			row{name + " on loopback", field, value("http://127.0.0.1:8080/jwks"), ""},
			row{name + " empty", field, `""`, lines(empty(field), breaks(field, "", message))},
			row{name + " of 512", field, value("https://" + long(504)), ""},
			row{name + " of 513", field, value("https://" + long(505)), tooLong(field, 512)},
			row{name + " without a scheme", field, value("kubernetes.default.svc"), breaks(field, "kubernetes.default.svc", message)},
			row{name + " with a user", field, value("https://me@example.com"), breaks(field, "https://me@example.com", message)},
			row{name + " with a fragment", field, value("https://example.com/#x"), breaks(field, "https://example.com/#x", message)},
			row{name + " with a space", field, value("https://example.com/a b"), breaks(field, "https://example.com/a b", message)},
			row{name + " by http", field, value("http://example.com"), breaks(field, "http://example.com", notHTTPS)},
		)
	}
	slices.SortFunc(rows, byName)
	return rows
}

func byName(a, b row) int { return strings.Compare(a.name, b.name) }
