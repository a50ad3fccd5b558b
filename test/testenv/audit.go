// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"fmt"
	"os"
	"path/filepath"
)

// auditPolicy has the API server write a line for each request of one user when it was answered, and none for anybody else's.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - {level: Metadata, users: [%q]}
  - {level: None}
`

// auditLogMegabytes is more than any test writes: a log that is begun anew can not be counted.
const auditLogMegabytes = "100000"

// AuditLog is the file with the requests of Options.AuditUser, an event in JSON per line.
func (c *ControlPlane) AuditLog() string { return filepath.Join(c.Dir, "audit.log") }

// audit has the requests of a user written down, each before it is answered.
func (c *ControlPlane) audit(user string) error {
	policy := filepath.Join(c.Dir, "audit-policy.yaml")
	if err := os.WriteFile(policy, fmt.Appendf(nil, auditPolicy, user), 0o600); err != nil {
		return fmt.Errorf("writing the audit policy: %w", err)
	}
	c.env.ControlPlane.GetAPIServer().Configure().
		Set("audit-policy-file", policy).Set("audit-log-path", c.AuditLog()).Set("audit-log-mode", "blocking").
		Set("audit-log-maxsize", auditLogMegabytes)
	return nil
}
