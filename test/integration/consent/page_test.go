// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package consent

import (
	"context"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/controllers"
	"github.com/keycardai/keycard-operator/controllers/consent"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// Whoever opens the consent page, however often, has the operator read no more from the API server than it can spare.
func TestConsentPageIsBounded(t *testing.T) {
	w := world.New(t, world.RealTime)
	authority := httptest.NewTLSServer(http.NotFoundHandler())
	authority.Close()
	must.Succeed(t, w.K8s.Create(w.Ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.NS, Name: "ca"},
		Data:       map[string]string{"ca.crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Certificate().Raw}))},
	}))
	install, b := w.Install(), w.Binding("reports")
	install.Spec.Zone.CABundle = &v1alpha1.CABundleSource{ConfigMapKeyRef: &v1alpha1.ConfigMapKeyReference{Name: "ca", Key: "ca.crt"}}
	must.Succeed(t, w.K8s.Create(w.Ctx, install))
	must.Succeed(t, w.K8s.Create(w.Ctx, b))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must.Succeed(t, err)
	address := listener.Addr().String()
	must.Succeed(t, listener.Close())
	operator := w.StartOperator(func(o *controllers.Options) {
		o.Consent = consent.Options{Application: true, Address: address, URL: "http://" + address}
	})
	w.UntilReady(install)
	w.UntilReady(b)

	page := "http://" + address + "/" + w.NS + "/" + b.Name
	get := func() (status int, retryAfter string) {
		answer, err := http.Get(page)
		if err != nil {
			return 0, ""
		}
		must.Succeed(t, answer.Body.Close())
		return answer.StatusCode, answer.Header.Get("Retry-After")
	}
	w.Eventually("the page is there", func(context.Context) (bool, error) {
		status, _ := get()
		return status == http.StatusOK, nil
	})
	var reads atomic.Int64
	operator.Writes.Mu.Lock()
	operator.Writes.Instead = func(r *http.Request) (*http.Response, error) {
		if strings.HasSuffix(r.URL.Path, "/configmaps/ca") {
			reads.Add(1)
		}
		return nil, nil
	}
	operator.Writes.Mu.Unlock()
	refused, begun := 0, time.Now()
	for range 200 {
		if status, retryAfter := get(); status == http.StatusTooManyRequests && retryAfter != "" {
			refused++
		} else if status != http.StatusOK {
			t.Fatalf("HTTP %d", status)
		}
	}
	most := 60 + 10*int64(time.Since(begun)/time.Second+1)
	if n := reads.Load(); n == 0 || n > most || int(n)+refused != 200 {
		t.Errorf("%d reads, want %d at most; %d were refused", n, most, refused)
	}
}
