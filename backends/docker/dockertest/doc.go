// Package dockertest says whether tests can have containers here, and with what. Start at [Config].
package dockertest
