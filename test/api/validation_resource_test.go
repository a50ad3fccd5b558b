// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package api_test

import "slices"

func resourceRows() []row {
	return slices.Concat(
		resourceFieldRows,
		nameRows("service account", "spec.zone.serviceAccountSecretRef.name", "%q", "spec.zone.serviceAccountSecretRef.name", notASecret, 253),
		nameRows("OAuth app", "spec.oauthAppSecretRef.name", "%q", "spec.oauthAppSecretRef.name", notASecret, 253),
		originRows("issuer", "spec.zone.issuer", "https://zn-8f2c.keycard.cloud"),
		originRows("API URL", "spec.zone.apiURL", "https://api.keycard.ai"),
		scopeRows("scopes to add", "spec.scopes", "{add: %s}", "spec.scopes.add"),
		scopeRows("scopes to set", "spec.scopes", "{set: %s}", "spec.scopes.set"),
		installRows(),
	)
}

const (
	notAZone       = "must be a zone id: letters, digits and '-', starting and ending with a letter or digit"
	notAnEntry     = "must be a catalog entry's name: lower-case letters, digits and '-', starting and ending with a letter or digit"
	oneOfScopes    = "exactly one of the fields in [add set] must be set"
	selectorOrNot  = "selector is required when from is Selector, and not allowed otherwise"
	badMatchLabels = "each key of matchLabels must be a qualified name, for example example.com/team"
	badExpressions = "each of matchExpressions must have the operator In or NotIn and values, or Exists or DoesNotExist and no values"

	selectorField = "spec.allowedNamespaces.selector"
)

func selecting(selector string) string { return "{from: Selector, selector: " + selector + "}" }

var resourceFieldRows = []row{
	{"as in the samples", "", "", ""},
	{"no spec", "spec", "", required("spec")},
	{"empty spec", "spec", "{}", lines(required("spec.zone"), required("spec.catalogEntry"), required("spec.oauthAppSecretRef"))},
	{"a field that does not exist", "spec.clientSecret", "oops", `KeycardResource in version "v1alpha1" cannot be handled as a KeycardResource: strict decoding error: unknown field "spec.clientSecret"`},
	{"a field that does not exist, further down", "spec.zone.url", "oops", `KeycardResource in version "v1alpha1" cannot be handled as a KeycardResource: strict decoding error: unknown field "spec.zone.url"`},

	{"no zone", "spec.zone", "", required("spec.zone")},
	{"zone in one word", "spec.zone", "zn-8f2c", wrongType("spec.zone", "object", "string")},
	{"no zone id", "spec.zone.id", "", required("spec.zone.id")},
	{"zone id empty", "spec.zone.id", `""`, lines(empty("spec.zone.id"), breaks("spec.zone.id", "", notAZone))},
	{"zone id of one digit", "spec.zone.id", `"7"`, ""},
	{"zone id of 63", "spec.zone.id", long(63), ""},
	{"zone id of 64", "spec.zone.id", long(64), tooLong("spec.zone.id", 63)},
	{"zone id in both letter cases", "spec.zone.id", "Zn8F2c", ""},
	{"zone id with a dot", "spec.zone.id", "zn.evil", breaks("spec.zone.id", "zn.evil", notAZone)},
	{"zone id with a slash", "spec.zone.id", "zn/evil", breaks("spec.zone.id", "zn/evil", notAZone)},
	{"zone id with an underscore", "spec.zone.id", "zn_1", breaks("spec.zone.id", "zn_1", notAZone)},
	{"zone id with a hyphen first", "spec.zone.id", `"-zn"`, breaks("spec.zone.id", "-zn", notAZone)},
	{"zone id with a hyphen last", "spec.zone.id", "zn-", breaks("spec.zone.id", "zn-", notAZone)},
	{"zone id with a line end", "spec.zone.id", `"zn\n"`, breaks("spec.zone.id", "zn\n", notAZone)},
	{"zone id in other letters", "spec.zone.id", "zoë", breaks("spec.zone.id", "zoë", notAZone)},
	{"zone id that is a number", "spec.zone.id", "7", wrongType("spec.zone.id", "string", "integer")},
	{"no service account", "spec.zone.serviceAccountSecretRef", "", required("spec.zone.serviceAccountSecretRef")},
	{"service account without a name", "spec.zone.serviceAccountSecretRef", "{}", required("spec.zone.serviceAccountSecretRef.name")},
	{"service account elsewhere", "spec.zone.serviceAccountSecretRef.namespace", "kube-system", `KeycardResource in version "v1alpha1" cannot be handled as a KeycardResource: strict decoding error: unknown field "spec.zone.serviceAccountSecretRef.namespace"`},

	{"no catalog entry", "spec.catalogEntry", "", required("spec.catalogEntry")},
	{"catalog entry empty", "spec.catalogEntry", `""`, lines(empty("spec.catalogEntry"), breaks("spec.catalogEntry", "", notAnEntry))},
	{"catalog entry nobody knows", "spec.catalogEntry", "no-such-entry", ""}, // the operator knows its catalog, the schema does not
	{"catalog entry of 63", "spec.catalogEntry", long(63), ""},
	{"catalog entry of 64", "spec.catalogEntry", long(64), tooLong("spec.catalogEntry", 63)},
	{"catalog entry in upper case", "spec.catalogEntry", "Confluence", breaks("spec.catalogEntry", "Confluence", notAnEntry)},
	{"catalog entry with a path", "spec.catalogEntry", "../confluence", breaks("spec.catalogEntry", "../confluence", notAnEntry)},
	{"catalog entry with a hyphen last", "spec.catalogEntry", "confluence-", breaks("spec.catalogEntry", "confluence-", notAnEntry)},
	{"catalog entry with a line end", "spec.catalogEntry", `"confluence\n"`, breaks("spec.catalogEntry", "confluence\n", notAnEntry)},

	{"no OAuth app", "spec.oauthAppSecretRef", "", required("spec.oauthAppSecretRef")},
	{"OAuth app without a name", "spec.oauthAppSecretRef", "{}", required("spec.oauthAppSecretRef.name")},

	{"scopes of neither", "spec.scopes", "{}", breaksIn("spec.scopes", oneOfScopes)},
	{"scopes of both", "spec.scopes", "{add: [a], set: [b]}", breaksIn("spec.scopes", oneOfScopes)},
	{"scopes without add or set", "spec.scopes", "[a]", wrongType("spec.scopes", "object", "array")},

	{"namespaces: same", "spec.allowedNamespaces", "{from: Same}", ""},
	{"namespaces: all", "spec.allowedNamespaces", "{from: All}", ""},
	{"namespaces: nothing said", "spec.allowedNamespaces", "{}", required("spec.allowedNamespaces.from")},
	{"namespaces: some", "spec.allowedNamespaces", "{from: Some}", unsupported("spec.allowedNamespaces.from", "Some", `"Same", "All", "Selector"`)},
	{"namespaces: lower case", "spec.allowedNamespaces", "{from: all}", unsupported("spec.allowedNamespaces.from", "all", `"Same", "All", "Selector"`)},
	{"namespaces: no selector", "spec.allowedNamespaces", "{from: Selector}", breaksIn("spec.allowedNamespaces", selectorOrNot)},
	{"namespaces: selector and all", "spec.allowedNamespaces", "{from: All, selector: {}}", breaksIn("spec.allowedNamespaces", selectorOrNot)},
	{"namespaces: selector and same", "spec.allowedNamespaces", "{from: Same, selector: {matchLabels: {a: b}}}", breaksIn("spec.allowedNamespaces", selectorOrNot)},
	{"namespaces: selector without from", "spec.allowedNamespaces", "{selector: {}}", required("spec.allowedNamespaces.from")},
	{"namespaces: any label", "spec.allowedNamespaces", selecting("{}"), ""},
	{"namespaces: by label", "spec.allowedNamespaces", selecting("{matchLabels: {example.com/team: a, b: c}}"), ""},
	{"namespaces: by expression", "spec.allowedNamespaces", selecting("{matchExpressions: [{key: a, operator: In, values: [b]}, {key: a, operator: NotIn, values: [c]}, {key: a, operator: Exists}, {key: d, operator: DoesNotExist, values: []}]}"), ""},
	{"namespaces: label key with a space", "spec.allowedNamespaces", selecting("{matchLabels: {a b: c}}"), breaksIn(selectorField, badMatchLabels)},
	{"namespaces: operator in lower case", "spec.allowedNamespaces", selecting("{matchExpressions: [{key: a, operator: in, values: [b]}]}"), breaksIn(selectorField, badExpressions)},
	{"namespaces: no operator of labels", "spec.allowedNamespaces", selecting("{matchExpressions: [{key: a, operator: Gt, values: ['1']}]}"), breaksIn(selectorField, badExpressions)},
	{"namespaces: in nothing", "spec.allowedNamespaces", selecting("{matchExpressions: [{key: a, operator: In}]}"), breaksIn(selectorField, badExpressions)},
	{"namespaces: not in nothing", "spec.allowedNamespaces", selecting("{matchExpressions: [{key: a, operator: NotIn, values: []}]}"), breaksIn(selectorField, badExpressions)},
	{"namespaces: exists with values", "spec.allowedNamespaces", selecting("{matchExpressions: [{key: a, operator: Exists, values: [b]}]}"), breaksIn(selectorField, badExpressions)},
	{"namespaces: expression without a key", "spec.allowedNamespaces", selecting("{matchExpressions: [{operator: Exists}]}"), required(selectorField + ".matchExpressions[0].key")},
	{"namespaces: expression without an operator", "spec.allowedNamespaces", selecting("{matchExpressions: [{key: a}]}"), required(selectorField + ".matchExpressions[0].operator")},

	{"adoption: refuse", "spec.adoptionPolicy", "Refuse", ""},
	{"adoption: adopt", "spec.adoptionPolicy", "Adopt", ""},
	{"adoption: maybe", "spec.adoptionPolicy", "Maybe", unsupported("spec.adoptionPolicy", "Maybe", `"Refuse", "Adopt"`)},
	{"adoption: empty", "spec.adoptionPolicy", `""`, unsupported("spec.adoptionPolicy", "", `"Refuse", "Adopt"`)},
	{"deletion: retain", "spec.deletionPolicy", "Retain", ""},
	{"deletion: delete", "spec.deletionPolicy", "Delete", ""},
	{"deletion: lower case", "spec.deletionPolicy", "delete", unsupported("spec.deletionPolicy", "delete", `"Retain", "Delete"`)},
	{"deletion: orphan", "spec.deletionPolicy", "Orphan", unsupported("spec.deletionPolicy", "Orphan", `"Retain", "Delete"`)},
	{"suspended", "spec.suspend", "true", ""},
	{"not suspended", "spec.suspend", "false", ""},
	{"suspended in words", "spec.suspend", `"yes"`, wrongType("spec.suspend", "boolean", "string")},
}
