// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/keycardai/keycard-operator/devzone/audit"
)

// secretVariable names the environment variable with the service account's
// secret.
const secretVariable = "DEVZONE_CLIENT_SECRET"

// remote is a running server and a service account of it.
type remote struct {
	api, zone, clientID, secretFile, caFile string
}

// auditOptions are the flags of audit.
type auditOptions struct {
	remote
	filters map[string]*string
	limit   int
	output  choice[string]
}

const aboutAudit = `Print the audit log of a running devzone, the newest entry first: every token that
was asked for, every sign-in, consent and connection, and every change through
the management API, granted or refused.

The operator's exchanges carry the binding in their User-Agent:
  devzone audit --user-agent my-namespace/my-binding

The service account's secret is read from --client-secret-file or the environment
variable ` + secretVariable + `; without either it is that of the default seed.`

func newAuditCommand() *cobra.Command {
	o := &auditOptions{filters: map[string]*string{}, output: choice[string]{value: "table", words: []string{"table", "json"}}}
	cmd := &cobra.Command{
		Use:     "audit",
		Short:   "Print the audit log of a running devzone",
		Long:    aboutAudit,
		Args:    noArguments,
		Example: "  devzone audit --outcome failure --since 2026-01-31T12:00:00Z -o json",
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	f := cmd.Flags()
	f.StringVar(&o.api, "api", "http://127.0.0.1:8091", "URL of the management API")
	f.StringVar(&o.zone, "zone", "zn-demo", "id of the zone")
	f.StringVar(&o.clientID, "client-id", "operator", "client id of a service account")
	f.StringVar(&o.secretFile, "client-secret-file", "", "file with the secret of the service account")
	f.StringVar(&o.caFile, "ca", "", "PEM file with the CA of the management API, when it speaks https")
	for name, usage := range map[string]string{
		"type": "entries of this type only, such as credentials:issue or providers:update", "outcome": "success or failure only",
		"application": "entries of this application only, by identifier", "user": "entries of this user only, by identifier",
		"resource": "entries about this resource only, by identifier", "correlation-id": "the entry with this correlation id",
		"request-id": "the entry with this request id, which is in error answers", "user-agent": "entries whose client's User-Agent has this in it",
		"since": "entries from this time on (RFC 3339)", "until": "entries before this time (RFC 3339)",
	} {
		o.filters[name] = f.String(name, "", usage)
	}
	f.IntVar(&o.limit, "limit", 100, "print at most this many entries; 0 prints all")
	f.VarP(&o.output, "output", "o", "table, or json for one object a line")
	return cmd
}

func (o *auditOptions) run(ctx context.Context, out io.Writer) error {
	if o.limit < 0 {
		return usageError{fmt.Errorf("--limit: must not be negative, got %d", o.limit)}
	}
	c, err := o.connect(ctx)
	if err != nil {
		return err
	}
	show, done := printJSON(out), func() error { return nil }
	if o.output.value == "table" {
		show, done = printTable(out)
	}
	query := o.query()
	for left := o.limit; ; {
		query.Set("limit", fmt.Sprint(pageSize(o.limit, left)))
		page, err := c.page(ctx, query)
		if err != nil {
			return err
		}
		for _, e := range page.Items {
			if err := show(e); err != nil {
				return err
			}
		}
		left -= len(page.Items)
		if page.Pagination.After == "" || (o.limit > 0 && left <= 0) {
			return done()
		}
		query.Set("after", page.Pagination.After)
	}
}

// query turns the flags into the filters of the endpoint.
func (o *auditOptions) query() url.Values {
	out := url.Values{}
	for name, value := range o.filters {
		if *value != "" {
			out.Set(strings.ReplaceAll(name, "-", "_"), *value)
		}
	}
	return out
}

// pageSize is how many entries to ask for next.
func pageSize(limit, left int) int {
	if limit == 0 {
		return 100
	}
	return min(left, 100)
}

// caller is an authenticated client of the management API.
type caller struct {
	http  *http.Client
	base  string
	token string
}

// auditPage is the answer of the audit endpoint.
type auditPage struct {
	Items      []audit.Event `json:"items"`
	Pagination struct {
		After string `json:"after_cursor"`
	} `json:"pagination"`
}

// connect logs in.
func (r remote) connect(ctx context.Context) (*caller, error) {
	secret := cmp.Or(os.Getenv(secretVariable), "dev-only-operator-secret")
	if r.secretFile != "" {
		raw, err := os.ReadFile(r.secretFile)
		if err != nil {
			return nil, usageError{fmt.Errorf("--client-secret-file: %w", err)}
		}
		secret = strings.TrimSpace(string(raw))
	}
	c := &caller{http: &http.Client{Timeout: 30 * time.Second}, base: strings.TrimSuffix(r.api, "/")}
	if r.caFile != "" {
		pool := x509.NewCertPool()
		raw, err := os.ReadFile(r.caFile)
		if err == nil && !pool.AppendCertsFromPEM(raw) {
			err = fmt.Errorf("%s holds no certificate", r.caFile)
		}
		if err != nil {
			return nil, usageError{fmt.Errorf("--ca: %w", err)}
		}
		c.http.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {r.clientID}, "client_secret": {secret}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/service-account-token", strings.NewReader(form.Encode()))
	if err != nil {
		return nil, usageError{fmt.Errorf("--api: %w", err)}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := c.send(req, &answer); err != nil {
		return nil, fmt.Errorf("logging in as %s: %w", r.clientID, err)
	}
	c.token, c.base = answer.Token, c.base+"/zones/"+url.PathEscape(r.zone)
	return c, nil
}

func (c *caller) page(ctx context.Context, query url.Values) (auditPage, error) {
	var page auditPage
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/audit-events?"+query.Encode(), nil)
	if err != nil {
		return page, usageError{fmt.Errorf("--zone: %w", err)}
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if err := c.send(req, &page); err != nil {
		return page, fmt.Errorf("reading the audit log: %w", err)
	}
	return page, nil
}

// send makes a request and decodes the answer; an error answer is an error with
// the server's words.
func (c *caller) send(req *http.Request, into any) error {
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("%w: is devzone running there?", err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusNoContent {
		return nil
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated {
		var said struct {
			Message     string `json:"message"`
			Description string `json:"error_description"`
		}
		_ = json.Unmarshal(raw, &said)
		err := fmt.Errorf("%s: %s", resp.Status, cmp.Or(said.Message, said.Description, "no reason given"))
		if resp.StatusCode == http.StatusBadRequest {
			return usageError{err}
		}
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return errors.New("the answer is not devzone's: is the URL right?")
	}
	return nil
}

func printJSON(out io.Writer) func(audit.Event) error {
	encoder := json.NewEncoder(out)
	return func(e audit.Event) error { return encoder.Encode(e) }
}

// printTable aligns the columns once all rows are there.
func printTable(out io.Writer) (show func(audit.Event) error, done func() error) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TIME\tTYPE\tOUTCOME\tBY\tFOR\tTARGET\tREASON\tCORRELATION")
	show = func(e audit.Event) error {
		reason := e.Error
		if e.Description != "" {
			reason += ": " + e.Description
		}
		_, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", e.Time.Local().Format("2006-01-02 15:04:05"), e.Type, e.Outcome,
			or(e.Actor.Application, e.Actor.ServiceAccount), or(e.Actor.User),
			or(e.Target.Resource, e.Target.Identifier, e.Target.ID), or(short(reason)), or(e.CorrelationID))
		return err
	}
	return show, w.Flush
}

// or returns the first text that there is, or a dash.
func or(texts ...string) string { return cmp.Or(append(texts, "-")...) }

// short cuts a reason to what fits beside the other columns; -o json has it all.
func short(s string) string {
	const most = 80
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
