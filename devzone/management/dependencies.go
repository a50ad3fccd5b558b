// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"slices"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// dependencies are shown as the resource with when_accessing.
var dependencies = kind[store.Dependency]{
	shape: legacy,
	param: "resource",
	table: func(tx *store.Tx) *store.Table[store.Dependency] { return tx.Dependencies },
	view: func(c *call, d store.Dependency) any {
		res, err := c.tx.Resources.Get(d.ZoneID, d.ResourceID)
		c.fault = err
		v := c.resourceView(res)
		v.WhenAccessing = d.WhenAccessing
		return v
	},
	within: func(c *call) (func(store.Dependency) bool, error) {
		app, err := c.application()
		return func(d store.Dependency) bool { return d.ApplicationID == app.ID }, err
	},
	find: func(c *call, resource string) (store.Dependency, bool) {
		return c.tx.Dependencies.Find(c.zone.ID, store.DependencyKey(c.r.PathValue("id"), resource))
	},
	filters: filters[store.Dependency]{"when_accessing": func(_ *call, values []string) (func(store.Dependency) bool, string) {
		if len(values) > 1 {
			return nil, "must be given once"
		}
		return func(d store.Dependency) bool { return slices.Contains(d.WhenAccessing, values[0]) }, ""
	}},
}

// putDependency makes an application depend on a resource. Its body says nothing.
func putDependency(path string) operation {
	return operation{
		pattern: "PUT " + path, params: []string{"when_accessing"}, optional: true,
		fields: func(*call) fields { return nil },
		answer: func(c *call) (any, error) {
			app, err := c.application()
			if err != nil {
				return nil, err
			}
			resource, err := c.tx.Resources.Get(c.zone.ID, c.r.PathValue("resource"))
			if err != nil {
				return nil, err
			}
			when := c.params["when_accessing"]
			for _, id := range when {
				if _, err := c.tx.Resources.Get(c.zone.ID, id); err != nil {
					return nil, badRequest("when_accessing: %s", err.Error())
				}
			}
			if err := c.read(nil); err != nil {
				return nil, err
			}
			return nil, c.tx.Depend(c.zone.ID, app.ID, resource.ID, when)
		},
	}
}
