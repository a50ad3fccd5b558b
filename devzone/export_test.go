// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone

import "github.com/keycardai/keycard-operator/devzone/store"

// Store lets tests put in what a browser would.
func (r *Running) Store() *store.Store { return r.data.store }
