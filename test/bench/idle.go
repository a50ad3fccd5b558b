// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// restart measures an operator that starts and finds that nothing is to be done. It stays running.
func (b *bench) restart(ctx context.Context) error {
	b.Say("restart with %d fresh tokens", b.bindings)
	start := time.Now()
	err := b.atNoExchange("restart", func() error {
		if err := b.startOperator(ctx, b.lasting); err != nil {
			return err
		}
		return b.settle(ctx, b.bindings)
	})
	if err != nil {
		return err
	}
	took := time.Since(start) - quiet
	cpu, err := cpuTime(b.operator.PID())
	if err != nil {
		return err
	}
	b.figures.add("restart: until it has looked at all bindings", "%.1f s, %.1f s of CPU", took.Seconds(), cpu.Seconds())
	return nil
}

// relabel measures what it costs that somebody changes a label of every binding.
func (b *bench) relabel(ctx context.Context) error {
	b.Say("new labels on all bindings")
	return b.atNoExchange("relabel", func() error {
		body := []byte(`{"metadata":{"labels":{"team":"other"},"annotations":{"team":"other"}}}`)
		err := each(ctx, b.bindings, adminAtOnce, func(ctx context.Context, i int) error {
			return b.admin.Patch(ctx, binding(namespace, lasting, i), client.RawPatch(types.MergePatchType, body))
		})
		if err != nil {
			return fmt.Errorf("changing labels: %w", err)
		}
		return b.settle(ctx, 0)
	})
}

// reapply measures what it costs that every manifest is applied once more: the operator's outputs are gone from none.
func (b *bench) reapply(ctx context.Context) error {
	b.Say("all manifests applied again")
	return b.atNoExchange("re-apply", func() error {
		// The first apply by a new field manager changes managedFields, the second nothing at all.
		for range 2 {
			err := each(ctx, b.bindings, adminAtOnce, func(ctx context.Context, i int) error {
				o := binding(namespace, lasting, i)
				body, err := json.Marshal(map[string]any{
					"apiVersion": o.APIVersion, "kind": o.Kind, "spec": o.Spec,
					"metadata": map[string]string{"namespace": o.Namespace, "name": o.Name},
				})
				if err != nil {
					return err
				}
				return b.admin.Patch(ctx, o, client.RawPatch(types.ApplyPatchType, body), client.FieldOwner("gitops"), client.ForceOwnership)
			})
			if err != nil {
				return fmt.Errorf("applying again: %w", err)
			}
		}
		return b.settle(ctx, 0)
	})
}

// atNoExchange counts what the operator does during something after which nothing has to be done.
func (b *bench) atNoExchange(name string, do func() error) error {
	if _, err := b.requests.take(); err != nil {
		return err
	}
	b.lasting.take()
	if err := do(); err != nil {
		return err
	}
	requests, err := b.requests.take()
	if err != nil {
		return err
	}
	exchanges := len(b.lasting.take())
	b.figures.add(name+": exchanges", "%d", exchanges)
	b.figures.add(name+": API requests in all", "%s", requests.per(1))
	b.figures.demand(exchanges == 0, "%s: %d exchanges, where there is no reason for any", name, exchanges)
	return nil
}

// moveAll has all bindings use the zone whose tokens rotate.
func (b *bench) moveAll(ctx context.Context) error {
	body := fmt.Appendf(nil, `{"spec":{"resourceRef":{"name":%q}}}`, fleeting)
	err := each(ctx, b.bindings, adminAtOnce, func(ctx context.Context, i int) error {
		o := &v1alpha1.ConfluenceTokenBinding{ObjectMeta: binding(namespace, fleeting, i).ObjectMeta}
		return b.admin.Patch(ctx, o, client.RawPatch(types.MergePatchType, body))
	})
	if err != nil {
		return fmt.Errorf("moving the bindings to another zone: %w", err)
	}
	return nil
}
