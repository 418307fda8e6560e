// Command xcrypto drives golang.org/x/crypto/acme, the library of which cert-manager has a copy.
package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"

	"acme-ca.invalid/e2e/task"
	"golang.org/x/crypto/acme"
)

type driver struct {
	*task.Task
	ctx    context.Context
	client *acme.Client
}

func main() { task.Main(acts) }

func acts(one *task.Task) (map[string]func() error, error) {
	key, made, err := one.AccountKey()
	if err != nil {
		return nil, err
	}

	d := &driver{one, context.Background(), &acme.Client{Key: key, DirectoryURL: one.Directory}}
	if made {
		if err := d.register(); err != nil {
			return nil, err
		}
	}

	return map[string]func() error{
		"issue":      d.issue,
		"revoke":     d.revoke,
		"rollover":   d.rollover,
		"deactivate": func() error { return d.client.DeactivateReg(d.ctx) },
	}, nil
}

func (d *driver) register() error {
	account := &acme.Account{}
	if d.Eab != nil {
		secret, err := base64.RawURLEncoding.DecodeString(d.Eab.Secret)
		if err != nil {
			return err
		}
		account.ExternalAccountBinding = &acme.ExternalAccountBinding{KID: d.Eab.Kid, Key: secret}
	}

	if _, err := d.client.Register(d.ctx, account, acme.AcceptTOS); err != nil {
		return err
	}

	return d.KeepAccountKey(d.client.Key)
}

func (d *driver) issue() error {
	order, err := d.order()
	if err != nil {
		return err
	}

	for _, url := range order.AuthzURLs {
		if err := d.prove(url); err != nil {
			return err
		}
	}

	if order, err = d.client.WaitOrder(d.ctx, order.URI); err != nil {
		return err
	}

	return d.finalize(order)
}

func (d *driver) order() (*acme.Order, error) {
	var ids []acme.AuthzID
	for _, name := range d.Names {
		if net.ParseIP(name) != nil {
			ids = append(ids, acme.IPIDs(name)...)
		} else {
			ids = append(ids, acme.DomainIDs(name)...)
		}
	}

	var options []acme.OrderOption
	if d.Profile != "" {
		options = append(options, acme.WithOrderIssuanceProfile(acme.ProfileName(d.Profile)))
	}

	return d.client.AuthorizeOrder(d.ctx, ids, options...)
}

func (d *driver) prove(url string) error {
	authorization, err := d.client.GetAuthorization(d.ctx, url)
	if err != nil || authorization.Status == acme.StatusValid {
		return err
	}

	for _, challenge := range authorization.Challenges {
		if challenge.Type != d.Challenge {
			continue
		}

		remove, err := d.answer(challenge, authorization.Identifier.Value)
		if err != nil {
			return err
		}
		defer remove()

		if _, err := d.client.Accept(d.ctx, challenge); err != nil {
			return err
		}

		_, err = d.client.WaitAuthorization(d.ctx, url)

		return err
	}

	return fmt.Errorf("%s offers no %s", url, d.Challenge)
}

// answer puts the answer to a challenge in place, and returns what takes it away again.
func (d *driver) answer(challenge *acme.Challenge, name string) (func(), error) {
	switch challenge.Type {
	case "http-01":
		return d.answerHTTP(challenge)
	case "tls-alpn-01":
		return d.answerTLS(challenge, name)
	default:
		value, err := d.client.DNS01ChallengeRecord(challenge.Token)
		if err != nil {
			return nil, err
		}

		record := "_acme-challenge." + name

		return func() { _ = d.Txt("cleanup", record, value) }, d.Txt("present", record, value)
	}
}

func (d *driver) answerHTTP(challenge *acme.Challenge) (func(), error) {
	response, err := d.client.HTTP01ChallengeResponse(challenge.Token)
	if err != nil {
		return nil, err
	}

	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", d.HTTPPort))
	if err != nil {
		return nil, err
	}

	mux := http.NewServeMux()
	mux.HandleFunc(d.client.HTTP01ChallengePath(challenge.Token), func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, response)
	})
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(listener) }()

	return func() { _ = server.Close() }, nil
}

func (d *driver) answerTLS(challenge *acme.Challenge, name string) (func(), error) {
	certificate, err := d.client.TLSALPN01ChallengeCert(challenge.Token, name)
	if err != nil {
		return nil, err
	}

	config := &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{acme.ALPNProto}}
	listener, err := tls.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", d.TLSPort), config)
	if err != nil {
		return nil, err
	}

	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			_ = connection.(*tls.Conn).Handshake()
			_ = connection.Close()
		}
	}()

	return func() { _ = listener.Close() }, nil
}

func (d *driver) finalize(order *acme.Order) error {
	key, err := task.NewKey()
	if err != nil {
		return err
	}

	template := &x509.CertificateRequest{}
	for _, name := range d.Names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}

	csr, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return err
	}

	chain, _, err := d.client.CreateCertFromOrder(d.ctx, order, csr, true)
	if err != nil {
		return err
	}

	var text []byte
	for _, der := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}

	if err := d.Write(d.Stem+".crt", text); err != nil {
		return err
	}

	return d.WriteKey(d.Stem+".key", key)
}

func (d *driver) revoke() error {
	text, err := d.Read(d.Stem + ".crt")
	if err != nil {
		return err
	}

	block, _ := pem.Decode(text)

	return d.client.RevokeCert(d.ctx, nil, block.Bytes, acme.CRLReasonUnspecified)
}

func (d *driver) rollover() error {
	key, err := task.NewKey()
	if err != nil {
		return err
	}

	if err := d.client.AccountKeyRollover(d.ctx, key); err != nil {
		return err
	}

	return d.KeepAccountKey(key)
}
