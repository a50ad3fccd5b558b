// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/keycardai/keycard-operator/devzone/audit"
)

// surface makes the server of one listener: health check, request log, the
// test's middleware, handler.
func surface(name string, handler http.Handler, middleware func(http.Handler) http.Handler, logger *slog.Logger) *http.Server {
	logger = logger.With("surface", name)
	if middleware != nil {
		handler = middleware(handler)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok\n")
	})
	mux.Handle("/", audit.Requests(logged(logger, handler)))
	unused := &unusedConnections{conns: map[net.Conn]bool{}}
	server := &http.Server{
		Handler:           mux,
		ConnState:         unused.track,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	server.RegisterOnShutdown(unused.close)
	return server
}

// unusedConnections are those that a client has opened in advance and sent
// nothing on. http.Server.Shutdown would wait five seconds for each.
type unusedConnections struct {
	mu    sync.Mutex
	conns map[net.Conn]bool
}

func (u *unusedConnections) track(c net.Conn, s http.ConnState) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if s == http.StateNew {
		u.conns[c] = true
		return
	}
	delete(u.conns, c)
}

func (u *unusedConnections) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for c := range u.conns {
		_ = c.Close()
	}
}

// logged writes one record for each request. It leaves the query out, which
// holds codes and states of the authorization flow.
func logged(logger *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		recorder := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(recorder, r)
		logger.DebugContext(r.Context(), "request", "method", r.Method, "path", r.URL.Path,
			"status", recorder.status, "duration", time.Since(start))
	})
}

// statusRecorder remembers the status of the answer.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader remembers the status.
func (r *statusRecorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
