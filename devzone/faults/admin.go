// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"
)

// maxFault is the largest accepted fault in bytes.
const maxFault = 1 << 20

// Handler is the admin endpoint: GET and POST /faults, GET and DELETE
// /faults/{id}, DELETE /faults. It asks for no authentication and therefore
// refuses what a web page of somebody else could send: cross-origin requests and
// foreign host names. address is where it listens.
func (s *Set) Handler(address string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusOK, map[string]any{"items": s.List()})
	})
	mux.HandleFunc("POST /faults", s.post)
	mux.HandleFunc("DELETE /faults", func(w http.ResponseWriter, _ *http.Request) {
		s.Clear()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /faults/{id}", func(w http.ResponseWriter, r *http.Request) {
		if f, ok := s.Get(r.PathValue("id")); ok {
			write(w, http.StatusOK, f)
			return
		}
		refuse(w, http.StatusNotFound, "no fault has this id")
	})
	mux.HandleFunc("DELETE /faults/{id}", func(w http.ResponseWriter, r *http.Request) {
		if s.Remove(r.PathValue("id")) {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		refuse(w, http.StatusNotFound, "no fault has this id")
	})
	return local(address, http.NewCrossOriginProtection().Handler(mux))
}

// local refuses requests for another host than the one that is listened on: a
// page whose name was made to lead here (DNS rebinding) sends its own name.
func local(address string, next http.Handler) http.Handler {
	own, _, _ := net.SplitHostPort(address)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if net.ParseIP(strings.Trim(host, "[]")) == nil && host != "localhost" && host != own {
			refuse(w, http.StatusForbidden, "the admin endpoint is reached by address or as localhost")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Set) post(w http.ResponseWriter, r *http.Request) {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxFault))
	decoder.DisallowUnknownFields()
	var f Fault
	if err := decoder.Decode(&f); err != nil {
		refuse(w, http.StatusBadRequest, "the body is no fault: "+err.Error())
		return
	}
	added, err := s.Add(f)
	if err != nil {
		refuse(w, http.StatusBadRequest, strings.ReplaceAll(err.Error(), "\n", "; "))
		return
	}
	write(w, http.StatusCreated, added)
}

func refuse(w http.ResponseWriter, status int, message string) {
	write(w, status, map[string]any{"message": message, "status": status})
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The status is out; a failed write means that the client has gone.
	_ = json.NewEncoder(w).Encode(v)
}
