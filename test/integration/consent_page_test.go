// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

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
)

// Whoever opens the consent page, however often, has the operator read no more from the API server than it can spare.
func TestConsentPageIsBounded(t *testing.T) {
	w := newWorld(t, realTime)
	authority := httptest.NewTLSServer(http.NotFoundHandler())
	authority.Close()
	must(t, w.k8s.Create(w.ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "ca"},
		Data:       map[string]string{"ca.crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Certificate().Raw}))},
	}))
	install, b := w.install(), w.binding("reports")
	install.Spec.Zone.CABundle = &v1alpha1.CABundleSource{ConfigMapKeyRef: &v1alpha1.ConfigMapKeyReference{Name: "ca", Key: "ca.crt"}}
	must(t, w.k8s.Create(w.ctx, install))
	must(t, w.k8s.Create(w.ctx, b))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := listener.Addr().String()
	must(t, listener.Close())
	operator := w.startOperator(func(o *controllers.Options) {
		o.Consent = controllers.ConsentOptions{Application: true, Address: address, URL: "http://" + address}
	})
	w.untilReady(install)
	w.untilReady(b)

	page := "http://" + address + "/" + w.ns + "/" + b.Name
	get := func() (status int, retryAfter string) {
		answer, err := http.Get(page)
		if err != nil {
			return 0, ""
		}
		must(t, answer.Body.Close())
		return answer.StatusCode, answer.Header.Get("Retry-After")
	}
	w.eventually("the page is there", func(context.Context) (bool, error) {
		status, _ := get()
		return status == http.StatusOK, nil
	})
	var reads atomic.Int64
	operator.writes.mu.Lock()
	operator.writes.instead = func(r *http.Request) (*http.Response, error) {
		if strings.HasSuffix(r.URL.Path, "/configmaps/ca") {
			reads.Add(1)
		}
		return nil, nil
	}
	operator.writes.mu.Unlock()
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
