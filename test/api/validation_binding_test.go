// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"fmt"
	"slices"
	"strings"
)

func bindingRows() []row {
	return slices.Concat(
		bindingFieldRows,
		nameRows("resource", "spec.resourceRef.name", "%q", "spec.resourceRef.name", notAKeycardResource, 253),
		nameRows("namespace", "spec.resourceRef.namespace", "%q", "spec.resourceRef.namespace", notANamespace, 63),
		nameRows("ServiceAccount", "spec.application", "{serviceAccountName: %q}", "spec.application.serviceAccountName", notAServiceAccount, 253),
		nameRows("client secret", "spec.application.clientSecretRef.name", "%q", "spec.application.clientSecretRef.name", notASecret, 253),
		nameRows("access token", "spec.subject", "{accessTokenSecretRef: {name: %q, key: k}}", "spec.subject.accessTokenSecretRef.name", notASecret, 253),
		nameRows("refresh token", "spec.subject", "{refreshTokenSecretRef: {name: %q, key: k}}", "spec.subject.refreshTokenSecretRef.name", notASecret, 253),
		nameRows("Secret", "spec.secret.name", "%q", "spec.secret.name", notASecret, 253),
		keyRows("accessTokenSecretRef"), keyRows("refreshTokenSecretRef"),
		scopeRows("scopes", "spec.scopes", "%s", "spec.scopes"),
		nameRows("workload", "spec.restart", "{targets: [{kind: Deployment, name: %q}]}", "spec.restart.targets[0].name", notAWorkload, 253),
		restartRows, siteRows(), labelRows(), annotationRows(),
	)
}

const (
	oneApplication  = "exactly one of the fields in [serviceAccountName clientSecretRef] must be set"
	oneSubject      = "exactly one of the fields in [user accessTokenSecretRef refreshTokenSecretRef application] must be set"
	notAUser        = "must be a user's identifier in the zone; remove control characters, '<', '>' and spaces around it"
	notADuration    = "must be from 1m to 12h, in hours, minutes and seconds, for example 20m"
	notASite        = "must be the site's address in lower case, for example https://acme.atlassian.net, without path or trailing slash"
	notAnInterval   = "must be from 30m to 24h, in hours, minutes and seconds, for example 2h"
	notAWorkload    = "must be the name of a workload: lower-case letters, digits, '-' and '.', starting and ending with a letter or digit"
	theKinds        = `"Deployment", "StatefulSet", "DaemonSet"`
	badLabelKey     = "each label's key must be a qualified name, for example example.com/team"
	badLabelValue   = "must be the value of a label: at most 63 letters, digits, '-', '_' and '.', starting and ending with a letter or digit"
	badAnnotation   = "each annotation's key must be a qualified name, for example example.com/team"
	ourLabels       = "uses a reserved prefix: keys of keycard.cloud, kubernetes.io, k8s.io, argoproj.io, fluxcd.io and helm.sh, and app.kubernetes.io/managed-by and /instance, belong to others; use a prefix of your own"
	ourAnnotations  = "uses a reserved prefix: keys of keycard.cloud, kubernetes.io, k8s.io, fluxcd.io and helm.sh, and argocd.argoproj.io/tracking-id, belong to others; use a prefix of your own"
	labelsField     = "spec.secret.labels"
	annotationField = "spec.secret.annotations"
	theFormats      = `"Header", "Curl", "Env", "Properties"`
)

// user is a subject with the complaint about its user.
func user(name, value, message string) row {
	r := row{"user " + name, "spec.subject", fmt.Sprintf("{user: %q}", value), ""}
	if message != "" {
		r.want = breaks("spec.subject.user", value, message)
	}
	return r
}

var bindingFieldRows = []row{
	{"as in the samples", "", "", ""},
	{"no spec", "spec", "", required("spec")},
	{"empty spec", "spec", "{}", lines(required("spec.resourceRef"), required("spec.application"), required("spec.subject"), required("spec.secret"))},
	{"a field that does not exist", "spec.refreshInterval", "1h", `ConfluenceTokenBinding in version "v1alpha1" cannot be handled as a ConfluenceTokenBinding: strict decoding error: unknown field "spec.refreshInterval"`},

	{"no resource", "spec.resourceRef", "", required("spec.resourceRef")},
	{"resource without a name", "spec.resourceRef", "{namespace: platform}", required("spec.resourceRef.name")},
	{"resource elsewhere", "spec.resourceRef", "{name: confluence, namespace: platform}", ""},
	{"resource's namespace with a dot", "spec.resourceRef.namespace", "a.b", breaks("spec.resourceRef.namespace", "a.b", notANamespace)},

	{"no application", "spec.application", "", required("spec.application")},
	{"application of neither", "spec.application", "{}", breaksIn("spec.application", oneApplication)},
	{"application of both", "spec.application", "{serviceAccountName: a, clientSecretRef: {name: b}}", breaksIn("spec.application", oneApplication)},
	{"workload identity", "spec.application", "{serviceAccountName: reports}", ""},
	{"client secret without a name", "spec.application", "{clientSecretRef: {}}", required("spec.application.clientSecretRef.name")},
	{"an audience of one's own", "spec.application", "{serviceAccountName: a, audience: b}", `ConfluenceTokenBinding in version "v1alpha1" cannot be handled as a ConfluenceTokenBinding: strict decoding error: unknown field "spec.application.audience"`},

	{"no subject", "spec.subject", "", required("spec.subject")},
	{"for nobody", "spec.subject", "{}", breaksIn("spec.subject", oneSubject)},
	{"for two", "spec.subject", "{user: a, application: {}}", breaksIn("spec.subject", oneSubject)},
	{"by two tokens", "spec.subject", "{accessTokenSecretRef: {name: s, key: k}, refreshTokenSecretRef: {name: s, key: k}}", breaksIn("spec.subject", oneSubject)},
	{"as itself", "spec.subject", "{application: {}}", ""},
	{"as another application", "spec.subject", "{application: {name: x}}", `ConfluenceTokenBinding in version "v1alpha1" cannot be handled as a ConfluenceTokenBinding: strict decoding error: unknown field "spec.subject.application.name"`},
	{"access token without a name", "spec.subject", "{accessTokenSecretRef: {key: k}}", required("spec.subject.accessTokenSecretRef.name")},
	{"access token without a key", "spec.subject", "{accessTokenSecretRef: {name: s}}", required("spec.subject.accessTokenSecretRef.key")},
	{"refresh token without a name", "spec.subject", "{refreshTokenSecretRef: {key: k}}", required("spec.subject.refreshTokenSecretRef.name")},
	{"refresh token without a key", "spec.subject", "{refreshTokenSecretRef: {name: s}}", required("spec.subject.refreshTokenSecretRef.key")},
	{"user empty", "spec.subject", `{user: ""}`, lines(empty("spec.subject.user"), breaks("spec.subject.user", "", notAUser))},
	user("of one letter", "a", ""),
	user("in other letters", "Zoë 山田", ""),
	user("of 1024", long(1024), ""),
	user("of 1024 letters of two bytes", strings.Repeat("é", 1024), ""),
	{"user of 1025", "spec.subject", "{user: " + long(1025) + "}", tooLong("spec.subject.user", 1024)},
	user("with a line end", "a\n", notAUser),
	user("on two lines", "a\nb", notAUser),
	user("with a nul", "a\x00b", notAUser),
	user("with an escape", "a\x1b[31m", notAUser),
	user("with delete", "a\x7f", notAUser),
	user("as a placeholder", "<user>", notAUser),
	user("with a space first", " alice@example.com", notAUser),
	user("with a space last", "alice@example.com ", notAUser),
	user("of a space", " ", notAUser),
	{"user that is a number", "spec.subject", "{user: 7}", wrongType("spec.subject.user", "string", "integer")},

	{"site without a URL", "spec.site", "{}", required("spec.site.url")},
	{"site in one word", "spec.site", "acme", wrongType("spec.site", "object", "string")},

	{"no Secret", "spec.secret", "", required("spec.secret")},
	{"Secret without a name", "spec.secret", "{}", required("spec.secret.name")},
	{"Secret elsewhere", "spec.secret.namespace", "kube-system", `ConfluenceTokenBinding in version "v1alpha1" cannot be handled as a ConfluenceTokenBinding: strict decoding error: unknown field "spec.secret.namespace"`},
	{"all formats", "spec.secret.formats", "[Header, Curl, Env, Properties]", ""},
	{"no formats", "spec.secret.formats", "[]", noItems("spec.secret.formats")},
	{"a format twice", "spec.secret.formats", "[Env, Env]", `spec.secret.formats[1]: Duplicate value: "Env"`},
	{"five formats", "spec.secret.formats", "[Header, Curl, Env, Properties, Env]", lines(tooMany("spec.secret.formats", 5, 4), `spec.secret.formats[4]: Duplicate value: "Env"`)},
	{"scopes may be fewer", "spec.reducedScopes", "Accept", ""},
	{"reducedScopes nobody knows", "spec.reducedScopes", "Ignore", unsupported("spec.reducedScopes", "Ignore", `"Refuse", "Accept"`)},
	{"tokens are tried", "spec.verify", "Probe", ""},
	{"verify nobody knows", "spec.verify", "Always", unsupported("spec.verify", "Always", `"Probe"`)},
	{"expired tokens go", "spec.secret.onExpiry", "Remove", ""},
	{"onExpiry nobody knows", "spec.secret.onExpiry", "Delete", unsupported("spec.secret.onExpiry", "Delete", `"Keep", "Remove"`)},
	{"refresh without before", "spec.refresh", "{}", required("spec.refresh.before")},
	{"refresh twenty minutes before", "spec.refresh", "{before: 20m}", ""},
	{"refresh a minute before, in seconds", "spec.refresh", "{before: 60s}", ""},
	{"refresh twelve hours before", "spec.refresh", "{before: 12h0m}", ""},
	{"refresh too late", "spec.refresh", "{before: 59s}", breaks("spec.refresh.before", "59s", notADuration)},
	{"refresh too early", "spec.refresh", "{before: 12h1s}", breaks("spec.refresh.before", "12h1s", notADuration)},
	{"refresh without a unit", "spec.refresh", "{before: \"20\"}", breaks("spec.refresh.before", "20", notADuration)},
	{"refresh with an empty before", "spec.refresh", "{before: \"\"}", lines(`spec.refresh.before: Invalid value: "": spec.refresh.before in body should be at least 2 chars long`, breaks("spec.refresh.before", "", notADuration))},
	{"refresh with a long before", "spec.refresh", "{before: 1h00000000000000m}", tooLong("spec.refresh.before", 16)},
	{"refresh in days", "spec.refresh", "{before: 1d}", breaks("spec.refresh.before", "1d", notADuration)},
	{"a format nobody knows", "spec.secret.formats", "[Header, Netrc]", unsupported("spec.secret.formats[1]", "Netrc", theFormats)},
	{"a format in lower case", "spec.secret.formats", "[env]", unsupported("spec.secret.formats[0]", "env", theFormats)},

	{"suspended", "spec.suspend", "true", ""},
	{"not suspended", "spec.suspend", "false", ""},
	{"suspended in words", "spec.suspend", `"yes"`, wrongType("spec.suspend", "boolean", "string")},
}

var restartRows = []row{
	{"restart of nothing", "spec.restart", "{}", required("spec.restart.targets")},
	{"restart of an empty list", "spec.restart", "{targets: []}", noItems("spec.restart.targets")},
	{"restart of each kind", "spec.restart", "{targets: [{kind: Deployment, name: a}, {kind: StatefulSet, name: a}, {kind: DaemonSet, name: a}]}", ""},
	{"restart of eight", "spec.restart", "{targets: " + list(8, "{kind: Deployment, name: a%d}") + "}", ""},
	{"restart of nine", "spec.restart", "{targets: " + list(9, "{kind: Deployment, name: a%d}") + "}", tooMany("spec.restart.targets", 9, 8)},
	{"restart of one twice", "spec.restart", "{targets: [{kind: Deployment, name: a}, {kind: Deployment, name: a}]}", `spec.restart.targets[1]: Duplicate value: {"kind":"Deployment","name":"a"}`},
	{"restart of no kind", "spec.restart", "{targets: [{name: a}]}", required("spec.restart.targets[0].kind")},
	{"restart of no name", "spec.restart", "{targets: [{kind: Deployment}]}", required("spec.restart.targets[0].name")},
	{"restart of a Pod", "spec.restart", "{targets: [{kind: Pod, name: a}]}", unsupported("spec.restart.targets[0].kind", "Pod", theKinds)},
	{"restart elsewhere", "spec.restart", "{targets: [{kind: Deployment, name: a, namespace: b}]}", `ConfluenceTokenBinding in version "v1alpha1" cannot be handled as a ConfluenceTokenBinding: strict decoding error: unknown field "spec.restart.targets[0].namespace"`},
	interval("half an hour", "30m", ""),
	interval("a day", "24h", ""),
	interval("in seconds", "5400s", ""),
	interval("of all units", "1h30m10s", ""),
	interval("too short", "29m59s", notAnInterval),
	interval("too long", "24h1s", notAnInterval),
	interval("without a unit", "30", notAnInterval),
	interval("in days", "1d", notAnInterval),
	interval("negative", "-1h", notAnInterval),
	{"interval empty", "spec.restart", `{targets: [{kind: Deployment, name: a}], minInterval: ""}`, lines(`spec.restart.minInterval: Invalid value: "": spec.restart.minInterval in body should be at least 2 chars long`, breaks("spec.restart.minInterval", "", notAnInterval))},
	{"interval of a long text", "spec.restart", "{targets: [{kind: Deployment, name: a}], minInterval: 1h00000000000000m}", tooLong("spec.restart.minInterval", 16)},
}

// interval is a restart with the complaint about its least interval.
func interval(name, value, message string) row {
	r := row{"interval " + name, "spec.restart", fmt.Sprintf("{targets: [{kind: Deployment, name: a}], minInterval: %q}", value), ""}
	if message != "" {
		r.want = breaks("spec.restart.minInterval", value, message)
	}
	return r
}

func keyRows(ref string) []row {
	field := "spec.subject." + ref + ".key"
	r := func(name, key, want string) row {
		return row{ref + ": key " + name, "spec.subject", fmt.Sprintf("{%s: {name: s, key: %q}}", ref, key), want}
	}
	rows := []row{
		r("in use", "access_token", ""),
		r("of every kind of character", "a-Z_0.json", ""),
		r("of 253", long(253), ""),
		r("of 254", long(254), tooLong(field, 253)),
		r("empty", "", lines(empty(field), breaks(field, "", notAKey))),
	}
	for name, key := range map[string]string{
		"with a slash": "a/b", "with a space": "a b", "with a line end": "a\n", "with a control character": "a\x07", "in other letters": "é",
	} {
		rows = append(rows, r(name, key, breaks(field, key, notAKey)))
	}
	return rows
}

func siteRows() []row {
	const field = "spec.site.url"
	r := func(name, url, want string) row {
		return row{"site: " + name, "spec.site", fmt.Sprintf("{url: %q}", url), want}
	}
	rows := []row{
		r("of Atlassian", "https://acme.atlassian.net", ""),
		r("under a name of its own", "https://wiki.acme-2.example", ""),
		r("of 255", "https://"+long(247), ""),
		r("of 256", "https://"+long(248), tooLong(field, 255)),
		r("empty", "", lines(empty(field), breaks(field, "", notASite))),
	}
	for name, url := range map[string]string{
		"http": "http://acme.atlassian.net", "loopback": "http://127.0.0.1", "trailing slash": "https://acme.atlassian.net/",
		"path": "https://acme.atlassian.net/wiki", "query": "https://acme.atlassian.net?a", "fragment": "https://acme.atlassian.net#a",
		"port": "https://acme.atlassian.net:443", "user": "https://me@acme.atlassian.net", "upper case": "https://Acme.atlassian.net",
		"no scheme": "acme.atlassian.net", "no host": "https://", "two dots": "https://acme..atlassian.net", "dot last": "https://acme.atlassian.net.",
		"hyphen first": "https://-acme.atlassian.net", "space": "https://acme .atlassian.net", "line end": "https://acme.atlassian.net\n",
		"control character": "https://acme.atlassian.net\x07", "other letters": "https://äcme.atlassian.net",
		"no-width space": "https://acme\u200b.atlassian.net", "IPv6": "https://[::1]",
	} {
		rows = append(rows, r(name, url, breaks(field, url, notASite)))
	}
	return rows
}

// mapOf is a map of n entries, as YAML.
func mapOf(n int) string {
	entries := make([]string, n)
	for i := range entries {
		entries[i] = fmt.Sprintf("k%d: v", i)
	}
	return "{" + strings.Join(entries, ", ") + "}"
}

// reserved are keys with the complaint about them.
func reserved(what, field, message string, keys ...string) []row {
	rows := make([]row, len(keys))
	for i, key := range keys {
		rows[i] = row{what + " " + key, field, "{" + key + ": x}", ""}
		if message != "" {
			rows[i].want = breaksIn(field, message)
		}
	}
	return rows
}

func labelRows() []row {
	prefix := strings.Join([]string{long(63), long(63), long(63), long(61)}, ".") // a DNS name of full length: 253
	value := func(name, value, want string) row {
		return row{"label value " + name, labelsField, fmt.Sprintf("{a: %q}", value), want}
	}
	key := func(name, key string) row {
		return row{"label key " + name, labelsField, fmt.Sprintf("{%q: b}", key), breaksIn(labelsField, badLabelKey)}
	}
	bad := func(name, v string) row { return value(name, v, breaks(labelsField+"[a]", v, badLabelValue)) }
	return slices.Concat([]row{
		{"labels", labelsField, "{example.com/team: reports, app.kubernetes.io/name: reports, plain: x}", ""},
		{"no labels", labelsField, "{}", noProperties(labelsField)},
		{"16 labels", labelsField, mapOf(16), ""},
		{"17 labels", labelsField, mapOf(17), tooMany(labelsField, 17, 16)},
		{"label key of full length", labelsField, "{" + prefix + "/" + long(63) + ": b}", ""},
		key("with too long a name", "a/"+long(64)),
		key("with too long a prefix", prefix+"a/b"),
		key("with a space", "a b"), key("with two slashes", "a/b/c"), key("with a prefix in upper case", "Example.com/a"),
		key("with no name", "example.com/"), key("in other letters", "é"), key("empty", ""),
		value("empty", "", ""), value("of 63", long(63), ""), value("of every kind of character", "a-Z_0.b", ""),
		value("of 64", long(64), tooLong(labelsField+".a", 63)),
		bad("with a space", "b c"), bad("with a dot last", "b."), bad("with a line end", "b\n"), bad("in other letters", "é"), bad("of a URL", "a/b"),
		{"label value that is a number", labelsField, "{a: 1}", wrongType(labelsField+".a", "string", "integer")},
	},
		reserved("label", labelsField, ourLabels, "keycard.cloud/x", "sub.keycard.cloud/x", "kubernetes.io/x", "node.kubernetes.io/x", "k8s.io/x",
			"x.k8s.io/x", "argoproj.io/x", "argocd.argoproj.io/instance", "kustomize.toolkit.fluxcd.io/name", "helm.sh/chart", "meta.helm.sh/x",
			"app.kubernetes.io/managed-by", "app.kubernetes.io/instance"),
		reserved("label", labelsField, "", "app.kubernetes.io/name", "app.kubernetes.io/part-of", "mykubernetes.io/x", "keycard.cloud.example/x",
			"keycard.cloud", "kubernetes.io.example/x"),
	)
}

func annotationRows() []row {
	value := func(name, value, want string) row {
		return row{"annotation value " + name, annotationField, fmt.Sprintf("{a: %q}", value), want}
	}
	key := func(name, key string) row {
		return row{"annotation key " + name, annotationField, fmt.Sprintf("{%q: b}", key), breaksIn(annotationField, badAnnotation)}
	}
	return slices.Concat([]row{
		{"no annotations", annotationField, "{}", noProperties(annotationField)},
		{"16 annotations", annotationField, mapOf(16), ""},
		{"17 annotations", annotationField, mapOf(17), tooMany(annotationField, 17, 16)},
		key("with a space", "a b"), key("with too long a name", long(64)), key("with no name", "example.com/"), key("empty", ""),
		value("empty", "", ""), value("of any text", "two\nlines, \"quoted\", 山", ""), value("of 1024", long(1024), ""),
		value("of 1025", long(1025), tooLong(annotationField+".a", 1024)),
		{"annotation value that is a boolean", annotationField, "{a: true}", wrongType(annotationField+".a", "string", "boolean")},
	},
		reserved("annotation", annotationField, ourAnnotations, "keycard.cloud/expires-at", "sub.keycard.cloud/x", "kubernetes.io/x",
			"kubectl.kubernetes.io/last-applied-configuration", "k8s.io/x", "kustomize.toolkit.fluxcd.io/prune", "helm.sh/resource-policy",
			"meta.helm.sh/release-name", "argocd.argoproj.io/tracking-id"),
		reserved("annotation", annotationField, "", "argocd.argoproj.io/compare-options", "reloader.stakater.com/ignore", "mykubernetes.io/x",
			"example.com/owner"),
	)
}
