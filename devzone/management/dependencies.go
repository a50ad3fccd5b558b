// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"bytes"
	"net/http"
	"slices"

	"github.com/keycardai/keycard-operator/devzone/store"
)

func (s *server) dependencyRoutes() {
	const path = "/zones/{zone}/applications/{id}/dependencies"
	s.inZone("GET "+path, s.listDependencies)
	s.inZone("GET "+path+"/{resource}", s.getDependency)
	s.inZone("PUT "+path+"/{resource}", s.putDependency)
	s.inZone("DELETE "+path+"/{resource}", s.deleteDependency)
}

// dependencyView shows a dependency, which on the wire is the resource with
// when_accessing.
func (s *server) dependencyView(tx *store.Tx, d store.Dependency) (resourceView, error) {
	res, err := tx.Resources.Get(d.ZoneID, d.ResourceID)
	if err != nil {
		return resourceView{}, err
	}
	v := s.resourceView(res)
	when := append([]string{}, d.WhenAccessing...)
	v.WhenAccessing = &when
	return v, nil
}

func (s *server) listDependencies(r *http.Request) (any, error) {
	when := r.URL.Query()["when_accessing"]
	if len(when) > 1 {
		return nil, badRequest("when_accessing: must be given once")
	}
	return listOf(s, r, true, func(tx *store.Tx) ([]item, error) {
		app, err := tx.Applications.Get(r.PathValue("zone"), r.PathValue("id"))
		if err != nil {
			return nil, err
		}
		var items []item
		for _, d := range tx.Dependencies.All(app.ZoneID, nil) {
			if d.ApplicationID != app.ID || (len(when) == 1 && !slices.Contains(d.WhenAccessing, when[0])) {
				continue
			}
			v, err := s.dependencyView(tx, d)
			if err != nil {
				return nil, err
			}
			items = append(items, item{seq: d.Seq, view: v})
		}
		return items, nil
	})
}

func (s *server) getDependency(r *http.Request) (any, error) {
	var out any
	err := s.Store.View(func(tx *store.Tx) error {
		d, err := findDependency(tx, r)
		if err != nil {
			return err
		}
		out, err = s.dependencyView(tx, d)
		return err
	})
	return out, err
}

func (s *server) putDependency(r *http.Request) (any, error) {
	data, err := readBody(r)
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(data)) > 0 {
		if _, err := parseObject(data); err != nil {
			return nil, err
		}
	}
	when := r.URL.Query()["when_accessing"]
	return nil, s.Store.Do(func(tx *store.Tx) error {
		zone := r.PathValue("zone")
		if _, err := tx.Applications.Get(zone, r.PathValue("id")); err != nil {
			return err
		}
		if _, err := tx.Resources.Get(zone, r.PathValue("resource")); err != nil {
			return err
		}
		for _, id := range when {
			if _, err := tx.Resources.Get(zone, id); err != nil {
				return badRequest("when_accessing: %s", err.Error())
			}
		}
		return tx.Depend(zone, r.PathValue("id"), r.PathValue("resource"), when)
	})
}

func (s *server) deleteDependency(r *http.Request) (any, error) {
	return nil, s.Store.Do(func(tx *store.Tx) error {
		d, err := findDependency(tx, r)
		if err != nil {
			return err
		}
		return tx.Dependencies.Delete(d.ZoneID, d.ID)
	})
}

func findDependency(tx *store.Tx, r *http.Request) (store.Dependency, error) {
	app, resource := r.PathValue("id"), r.PathValue("resource")
	if _, err := tx.Applications.Get(r.PathValue("zone"), app); err != nil {
		return store.Dependency{}, err
	}
	d, ok := tx.Dependencies.Find(r.PathValue("zone"), store.DependencyKey(app, resource))
	if !ok {
		return d, notFound("the application does not depend on a resource with the id %q", resource)
	}
	return d, nil
}
