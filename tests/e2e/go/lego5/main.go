// Command lego5 drives lego 5 as a library.
package main

import (
	"context"
	"crypto"
	"strconv"
	"time"

	"acme-ca.invalid/e2e/task"
	"github.com/go-acme/lego/v5/acme"
	"github.com/go-acme/lego/v5/certcrypto"
	"github.com/go-acme/lego/v5/certificate"
	"github.com/go-acme/lego/v5/challenge/dns01"
	"github.com/go-acme/lego/v5/challenge/dnspersist01"
	"github.com/go-acme/lego/v5/challenge/http01"
	"github.com/go-acme/lego/v5/challenge/tlsalpn01"
	"github.com/go-acme/lego/v5/lego"
	"github.com/go-acme/lego/v5/registration"
)

// user is lego's idea of an account.
type user struct {
	key     crypto.Signer
	account *acme.ExtendedAccount
}

func (u *user) GetEmail() string                       { return "" }
func (u *user) GetRegistration() *acme.ExtendedAccount { return u.account }
func (u *user) GetPrivateKey() crypto.Signer           { return u.key }

type driver struct {
	*task.Task
	ctx    context.Context
	user   *user
	client *lego.Client
}

func main() { task.Main(acts) }

func acts(one *task.Task) (map[string]func() error, error) {
	key, made, err := one.AccountKey()
	if err != nil {
		return nil, err
	}

	d := &driver{Task: one, ctx: context.Background(), user: &user{key: key}}
	config := lego.NewConfig(d.user)
	config.CADirURL = one.Directory

	if d.client, err = lego.NewClient(config); err != nil {
		return nil, err
	}

	if made {
		err = d.register()
	} else {
		d.user.account, err = d.client.Registration.ResolveAccountByKey(d.ctx)
	}

	return map[string]func() error{
		"issue":        d.issue,
		"renew-if-due": d.renewIfDue,
		"revoke":       d.revoke,
		"rollover":     d.rollover,
		"deactivate":   func() error { return d.client.Registration.DeleteRegistration(d.ctx) },
	}, err
}

func (d *driver) register() (err error) {
	if d.Eab != nil {
		options := registration.RegisterEABOptions{TermsOfServiceAgreed: true, Kid: d.Eab.Kid, HmacEncoded: d.Eab.Secret}
		d.user.account, err = d.client.Registration.RegisterWithExternalAccountBinding(d.ctx, options)
	} else {
		options := registration.RegisterOptions{TermsOfServiceAgreed: true}
		d.user.account, err = d.client.Registration.Register(d.ctx, options)
	}

	if err != nil {
		return err
	}

	return d.KeepAccountKey(d.user.key)
}

// solve chooses who answers the challenge.
func (d *driver) solve() error {
	solvers := d.client.Challenge

	switch d.Challenge {
	case "http-01":
		return solvers.SetHTTP01Provider(http01.NewProviderServer("127.0.0.1", strconv.Itoa(d.HTTPPort)))
	case "tls-alpn-01":
		return solvers.SetTLSALPN01Provider(tlsalpn01.NewProviderServer("127.0.0.1", strconv.Itoa(d.TLSPort)))
	case "dns-01":
		options := dns01.NewOptions()
		options.RecursiveNameservers = []string{d.DNS}
		dns01.SetDefaultClient(dns01.NewClient(options))

		return solvers.SetDNS01Provider(records{d.Task}, dns01.PropagationWait(0, true))
	default:
		return d.persist()
	}
}

// persist adds the lasting records of dns-persist-01, as the owner of the zone does once; lego finds them there.
func (d *driver) persist() error {
	options := dnspersist01.NewOptions()
	options.RecursiveNameservers = []string{d.DNS}
	dnspersist01.SetDefaultClient(dnspersist01.NewClient(options))

	value := d.client.GetServerMetadata().CaaIdentities[0] + "; accounturi=" + d.user.account.Location
	for _, name := range d.Names {
		if err := d.Txt("present", "_validation-persist."+name, value); err != nil {
			return err
		}
	}

	return d.client.Challenge.SetDNSPersist01(dnspersist01.PropagationWait(0, true))
}

// records is the test's zone as a provider of lego's.
type records struct{ *task.Task }

// Present adds the record of a challenge.
func (r records) Present(ctx context.Context, domain, _, keyAuth string) error {
	info := dns01.GetChallengeInfo(ctx, domain, keyAuth)
	return r.Txt("present", info.EffectiveFQDN, info.Value)
}

// CleanUp removes it.
func (r records) CleanUp(ctx context.Context, domain, _, keyAuth string) error {
	info := dns01.GetChallengeInfo(ctx, domain, keyAuth)
	return r.Txt("cleanup", info.EffectiveFQDN, info.Value)
}

func (d *driver) issue() error {
	if err := d.solve(); err != nil {
		return err
	}

	request := certificate.ObtainRequest{
		Domains: d.Names,
		KeyType: certcrypto.EC256,
		Bundle:  true,
		Profile: d.Profile,
	}

	issued, err := d.client.Certificate.Obtain(d.ctx, request)
	if err != nil {
		return err
	}

	return d.keep(issued)
}

func (d *driver) keep(issued *certificate.Resource) error {
	if err := d.Write(d.Stem+".crt", issued.Certificate); err != nil {
		return err
	}

	return d.Write(d.Stem+".key", issued.PrivateKey)
}

// renewIfDue replaces the certificate when the CA's renewal information says so. RFC 9773.
func (d *driver) renewIfDue() error {
	chain, err := d.Read(d.Stem + ".crt")
	if err != nil {
		return err
	}

	certificates, err := certcrypto.ParsePEMBundle(chain)
	if err != nil {
		return err
	}

	info, err := d.client.Certificate.GetRenewalInfo(d.ctx, certificates[0])
	if err != nil || info.ShouldRenewAt(time.Now(), 0) == nil {
		return err
	}

	if err := d.solve(); err != nil {
		return err
	}

	resource := certificate.Resource{Domains: d.Names, Certificate: chain, KeyType: certcrypto.EC256}
	options := &certificate.RenewOptions{KeyType: certcrypto.EC256, Bundle: true, UseARICertID: true}

	renewed, err := d.client.Certificate.Renew(d.ctx, resource, options)
	if err != nil {
		return err
	}

	return d.keep(renewed)
}

func (d *driver) revoke() error {
	chain, err := d.Read(d.Stem + ".crt")
	if err != nil {
		return err
	}

	return d.client.Certificate.Revoke(d.ctx, chain)
}

func (d *driver) rollover() error {
	key, err := task.NewKey()
	if err != nil {
		return err
	}

	if err := d.client.Registration.KeyRollover(d.ctx, key); err != nil {
		return err
	}

	return d.KeepAccountKey(key)
}
