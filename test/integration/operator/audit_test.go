// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// auditEvent is what the test looks at of an entry of the zone's audit log.
type auditEvent struct {
	Type          string `json:"type"`
	Outcome       string `json:"outcome"`
	UserAgent     string `json:"user_agent"`
	CorrelationID string `json:"correlation_id"`
}

// audit reads the entries of a caller.
func audit(w *world.World, userAgent string) []auditEvent {
	w.T.Helper()
	resp, err := http.PostForm(w.Zone.APIURL+"/service-account-token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {"operator"}, "client_secret": {world.OperatorSecret},
	})
	must.Succeed(w.T, err)
	defer resp.Body.Close()
	var login struct {
		Token string `json:"access_token"`
	}
	must.Succeed(w.T, json.NewDecoder(resp.Body).Decode(&login))
	req, err := http.NewRequest(http.MethodGet, w.Zone.APIURL+"/zones/"+w.Zone.ZoneID+"/audit-events?"+url.Values{"user_agent": {userAgent}}.Encode(), nil)
	must.Succeed(w.T, err)
	req.Header.Set("Authorization", "Bearer "+login.Token)
	answer, err := http.DefaultClient.Do(req)
	must.Succeed(w.T, err)
	defer answer.Body.Close()
	var list struct {
		Items []auditEvent `json:"items"`
	}
	must.Succeed(w.T, json.NewDecoder(answer.Body).Decode(&list))
	return list.Items
}

// From an object one finds its entries in the zone's audit log, and from an entry the operator's log lines.
func TestAuditLogNamesTheObject(t *testing.T) {
	g := NewWithT(t)
	w := world.New(t, world.RealTime)
	resource, binding := w.Install(), w.Binding("reports")
	other := w.Binding("other")
	other.Spec.Secret.Name = "other"
	for _, o := range []client.Object{resource, binding, other} {
		must.Succeed(t, w.K8s.Create(w.Ctx, o))
	}
	operator := w.StartOperator()
	w.UntilReady(binding)
	w.UntilReady(other)
	operator.Stop()

	mine := audit(w, "ConfluenceTokenBinding "+w.NS+"/reports)")
	g.Expect(mine).To(HaveLen(1))
	g.Expect(mine[0].Type + " " + mine[0].Outcome).To(Equal("credentials:issue success"))
	g.Expect(mine[0].UserAgent).To(Equal("test (ConfluenceTokenBinding " + w.NS + "/reports)"))
	g.Expect(mine[0].CorrelationID).NotTo(BeEmpty())
	found := false
	for line := range strings.Lines(w.Logs.String()) {
		found = found || strings.Contains(line, mine[0].CorrelationID) && strings.Contains(line, "exchanging for a token")
	}
	g.Expect(found).To(BeTrue(), "the correlation id is the reconcile id of the log")

	var changes []string
	for _, e := range audit(w, "KeycardResource "+w.NS+"/"+resource.Name) {
		changes = append(changes, e.Type)
	}
	g.Expect(changes).To(Equal([]string{"resources:create", "providers:create"}))
}
