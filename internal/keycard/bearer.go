// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"context"
	"net/http"

	"github.com/keycardai/keycard-operator/internal/redacted"
)

// GetJSON reads a JSON document with a token that a zone issued, from the API the token is for: under the
// same limits as every other call, and with errors of the same classes. op says what is being done, as
// a gerund, for the error.
func (p *Pool) GetJSON(ctx context.Context, op, url string, token redacted.String, out any) error {
	u, err := p.transport.options.parseURL(op, url)
	if err != nil {
		return err
	}
	// The API is somebody else's, and the names of a cluster are not its business.
	ctx = WithCaller(ctx, Caller{})
	return p.transport.doJSON(ctx, call{
		op: op, method: http.MethodGet, url: u.String(),
		header:  http.Header{"Authorization": {"Bearer " + token.Reveal()}},
		secrets: []redacted.String{token},
	}, out)
}
