// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"fmt"
	"regexp"
	"strings"
)

// Marker stands in the description of an object in a zone, and says whose it is. It depends on
// names only: it survives a lost status, and an install that is deleted and applied again.
type Marker string

// InstallMarker marks what belongs to one KeycardResource.
func InstallMarker(clusterID, namespace, name string) Marker {
	return Marker(fmt.Sprintf("[keycard-operator %s/%s/%s]", clusterID, namespace, name))
}

// ClusterMarker marks what the installs of a cluster share for a purpose.
func ClusterMarker(clusterID, purpose string) Marker {
	return Marker(fmt.Sprintf("[keycard-operator %s %s]", clusterID, purpose))
}

// In reports whether a description holds the marker.
func (m Marker) In(description string) bool { return strings.Contains(description, string(m)) }

var installPattern = regexp.MustCompile(`\[keycard-operator ([^/\] ]+)/([^/\] ]+)/([^/\] ]+)\]`)

// InstallOf returns the KeycardResource of this cluster whose marker a description holds, if any.
func InstallOf(clusterID, description string) (namespace, name string, ok bool) {
	m := installPattern.FindStringSubmatch(description)
	if len(m) == 0 || m[1] != clusterID {
		return "", "", false
	}
	return m[2], m[3], true
}
