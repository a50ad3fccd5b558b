// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/flowcontrol"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/test/testenv/program"
)

// bare is a client that writes what the operator writes, and does nothing else.
type bare struct {
	client client.Client
	// secret and binding are some that the operator wrote.
	secret  corev1.Secret
	binding v1alpha1.ConfluenceTokenBinding
	// statuses and events are how many the operator wrote for each binding.
	statuses, events int
}

// bareClient measures how long the operator's writes take by themselves: as the same user, with the same limits, as many at
// once.
func (b *bench) bareClient(ctx context.Context) error {
	b.Say("a bare client that does the same writes")
	if err := b.makeBindings(ctx, bareNamespace); err != nil {
		return err
	}
	cfg, err := b.cluster.ServiceAccount(ctx, "keycard-system", "keycard-operator", program.AccountLifetime)
	if err != nil {
		return err
	}
	w := &bare{
		statuses: b.coldRequests.of("patch", "confluencetokenbindings/status", b.bindings),
		events:   b.coldRequests.of("create", "events", b.bindings),
	}
	if w.client, err = newClient(cfg, flowcontrol.NewTokenBucketRateLimiter(b.limits.qps, b.limits.burst)); err != nil {
		return err
	}
	if err := b.admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: outputName(0)}, &w.secret); err != nil {
		return fmt.Errorf("reading a Secret of the operator's: %w", err)
	}
	if err := b.admin.Get(ctx, client.ObjectKeyFromObject(binding(namespace, lasting, 0)), &w.binding); err != nil {
		return fmt.Errorf("reading a binding: %w", err)
	}
	start := time.Now()
	if err := each(ctx, b.bindings, b.limits.concurrency, w.write); err != nil {
		return err
	}
	took := time.Since(start)
	b.figures.add("bare client: the same writes, limits and concurrency",
		"%.1f s (%g requests a second, %d at once, %d workers); the cold start takes %.2f times as long",
		took.Seconds(), b.limits.qps, b.limits.burst, b.limits.concurrency, b.coldTime.Seconds()/took.Seconds())
	for _, kind := range []client.Object{&v1alpha1.ConfluenceTokenBinding{}, &corev1.Secret{}} {
		if err := b.removeAll(ctx, kind); err != nil {
			return fmt.Errorf("removing what the bare client wrote: %w", err)
		}
	}
	return nil
}

// removeAll deletes what the bare client made of a kind. After a minute the server gives up on a collection; asked again, it
// goes on with what is left.
func (b *bench) removeAll(ctx context.Context, kind client.Object) error {
	for {
		err := b.admin.DeleteAllOf(ctx, kind, client.InNamespace(bareNamespace))
		if !apierrors.IsTimeout(err) {
			return err //nolint:wrapcheck // the caller says what was being done
		}
	}
}

// write does the writes for one binding, in the operator's order.
func (w *bare) write(ctx context.Context, i int) error {
	b := binding(bareNamespace, lasting, i)
	for n := range w.statuses {
		if n == w.statuses-1 {
			if err := w.writeSecret(ctx, i); err != nil {
				return err
			}
		}
		status := w.binding.Status.DeepCopy()
		status.LastRefreshRequest = fmt.Sprint(n) // each write changes something
		body, err := json.Marshal(map[string]any{"status": status})
		if err != nil {
			return fmt.Errorf("encoding a status: %w", err)
		}
		if err := w.client.Status().Patch(ctx, b, client.RawPatch(types.MergePatchType, body)); err != nil {
			return fmt.Errorf("writing a status: %w", err)
		}
	}
	for n := range w.events {
		if err := w.client.Create(ctx, event(b, n)); err != nil {
			return fmt.Errorf("writing an event: %w", err)
		}
	}
	return nil
}

// writeSecret applies a Secret by its metadata, as the operator does.
func (w *bare) writeSecret(ctx context.Context, i int) error {
	meta := metav1.ObjectMeta{Namespace: bareNamespace, Name: outputName(i), Labels: w.secret.Labels, Annotations: w.secret.Annotations}
	s := corev1.Secret{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, ObjectMeta: meta, Type: w.secret.Type, Data: w.secret.Data,
	}
	body, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encoding a Secret: %w", err)
	}
	m := &metav1.PartialObjectMetadata{TypeMeta: s.TypeMeta, ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name}}
	if err := w.client.Patch(ctx, m, client.RawPatch(types.ApplyPatchType, body), client.FieldOwner("bare"), client.ForceOwnership); err != nil {
		return fmt.Errorf("writing a Secret: %w", err)
	}
	return nil
}

func event(b *v1alpha1.ConfluenceTokenBinding, n int) *eventsv1.Event {
	return &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: fmt.Sprintf("%s-%d", b.Name, n)},
		EventTime:  metav1.NowMicro(), Type: corev1.EventTypeNormal, Reason: v1alpha1.EventTokenIssued, Action: "Exchange",
		ReportingController: "bench", ReportingInstance: "bench", Note: "the bare client's",
		Regarding: corev1.ObjectReference{APIVersion: b.APIVersion, Kind: b.Kind, Namespace: b.Namespace, Name: b.Name, UID: b.UID},
	}
}
