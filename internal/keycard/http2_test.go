// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"context"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/internal/redacted"
)

// wire passes connections on to a server, until they are cut: then they stay open, and nothing passes.
type wire struct {
	net.Listener
	mu  sync.Mutex
	cut []chan struct{}
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: listener}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				return
			}
			t.Cleanup(func() { _, _ = near.Close(), far.Close() })
			cut := make(chan struct{})
			w.mu.Lock()
			w.cut = append(w.cut, cut)
			w.mu.Unlock()
			go pass(near, far, cut)
			go pass(far, near, cut)
		}
	}()
	return w
}

func pass(from io.Reader, to io.Writer, cut <-chan struct{}) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		select {
		case <-cut:
		default:
			_, _ = to.Write(buffer[:n])
		}
	}
}

// cutAll cuts the connections there are; new ones pass. It gives how many there were.
func (w *wire) cutAll() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.cut)
	for _, cut := range w.cut {
		close(cut)
	}
	w.cut = nil
	return n
}

// A connection whose packets are dropped on the way is given up, and the next request has a new one.
func TestASilentConnectionIsGivenUp(t *testing.T) {
	g := NewWithT(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `"`+r.Proto+`"`)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	between := newWire(t, server.Listener.Addr().String())
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	pool := NewPool(Options{RootCAs: roots, http2: &http.HTTP2Config{SendPingTimeout: 50 * time.Millisecond, PingTimeout: 50 * time.Millisecond}})
	ask := func() (proto string, err error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = pool.GetJSON(ctx, "asking", "https://"+between.Addr().String(), redacted.New("x"), &proto)
		return proto, err
	}
	g.Expect(ask()).To(Equal("HTTP/2.0"))
	g.Expect(between.cutAll()).To(Equal(1))
	g.Eventually(ask).WithTimeout(5 * time.Second).Should(Equal("HTTP/2.0"))
}

// The time for it is well below what a request may take in all.
func TestSilenceIsNoticedInTime(t *testing.T) {
	o := Options{}.withDefaults()
	transport, ok := o.httpClient().Transport.(*http.Transport)
	if !ok || transport.HTTP2 == nil {
		t.Fatal("nobody looks after connections")
	}
	if c := transport.HTTP2; c.SendPingTimeout <= 0 || c.PingTimeout <= 0 || c.WriteByteTimeout <= 0 || c.SendPingTimeout+c.PingTimeout > o.Timeout {
		t.Errorf("a silent connection is noticed after %s and %s", c.SendPingTimeout, c.PingTimeout)
	}
}
