// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard_test

import (
	"context"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/internal/keycard"
)

func TestCallerIsNamed(t *testing.T) {
	for name, tt := range map[string]struct {
		caller         keycard.Caller
		agent, request string
	}{
		"nobody":  {keycard.Caller{}, "op/1", ""},
		"binding": {keycard.Caller{Object: "ConfluenceTokenBinding a/b", CorrelationID: "5-6"}, "op/1 (ConfluenceTokenBinding a/b)", "5-6"},
		"odd":     {keycard.Caller{Object: "a)\r\nX: b(é", CorrelationID: "1\n2"}, "op/1 (aX: b)", "12"},
		"long":    {keycard.Caller{Object: strings.Repeat("x", 999)}, "op/1 (" + strings.Repeat("x", 200) + ")", ""},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			s := newAPI(t)
			s.on("GET /zones/z1", answer(200, `{"id":"z1"}`))
			o := options()
			o.UserAgent = "op/1"
			_, err := management(t, s, o).GetZone(keycard.WithCaller(context.Background(), tt.caller), "z1")
			g.Expect(err).NotTo(HaveOccurred())
			for _, r := range s.requests("") {
				g.Expect(r.header.Get("User-Agent")).To(Equal(tt.agent))
				g.Expect(r.header.Get("X-Client-Request-ID")).To(Equal(tt.request))
			}
		})
	}
}
