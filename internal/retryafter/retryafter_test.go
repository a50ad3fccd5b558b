// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package retryafter_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/keycardai/keycard-operator/internal/retryafter"
)

// client-go gives up at once and knows the pause, where it would otherwise sleep for minutes.
func TestTransport(t *testing.T) {
	for name, tt := range map[string]struct {
		status  int
		pause   string
		seconds int
		asked   int
	}{
		"throttled":            {http.StatusTooManyRequests, "30", 30, 1},
		"overloaded":           {http.StatusServiceUnavailable, "7", 7, 1},
		"a second is no pause": {http.StatusTooManyRequests, "1", 0, 2},
		"no pause":             {http.StatusInternalServerError, "", 0, 1},
		"no number":            {http.StatusTooManyRequests, "soon", 0, 1},
		"fine":                 {http.StatusOK, "30", 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			asked := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if asked++; asked > 1 {
					w.WriteHeader(http.StatusOK)
					return
				}
				w.Header().Set("Retry-After", tt.pause)
				w.WriteHeader(tt.status)
			}))
			t.Cleanup(server.Close)
			cfg := &rest.Config{Host: server.URL}
			cfg.Wrap(retryafter.Transport)
			clients, err := kubernetes.NewForConfig(cfg)
			g.Expect(err).NotTo(HaveOccurred())
			_, err = clients.CoreV1().Namespaces().Get(t.Context(), "x", metav1.GetOptions{})
			seconds, _ := apierrors.SuggestsClientDelay(err)
			g.Expect(seconds).To(Equal(tt.seconds), "%v", err)
			g.Expect(asked).To(Equal(tt.asked))
		})
	}
}
