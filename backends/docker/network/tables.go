package network

import "github.com/ds-sandbox/ds-sandbox/agent/netrules"

// never is admitted by no list. The sandbox's own subnets (with the gateway, which is the host) are added to it inside its network.
var never = netrules.MustSet(
	"0.0.0.0/8",          // "this network"; connecting to 0.0.0.0 is connecting to oneself
	"127.0.0.0/8",        // leaving by an interface, that is; loopback itself is not filtered
	"169.254.0.0/16",     // link-local; the metadata service of most clouds
	"100.100.100.200/32", // metadata of Alibaba's cloud
	"168.63.129.16/32",   // Azure's host agent, a public address
	"192.0.0.192/32",     // metadata of Oracle's cloud
	"224.0.0.0/4",        // multicast
	"255.255.255.255/32", // broadcast
	"::/96",              // unspecified, loopback, and IPv4 in its first, forgotten form
	"::ffff:0:0/96",      // IPv4 written as IPv6, which must not be a way around IPv4's rules
	"fe80::/10",          // link-local
	"fd00:ec2::/32",      // metadata, time and names of AWS
	"fd20:ce::254/128",   // metadata of Google's cloud
	"ff00::/8",           // multicast
)

// private is admitted only where Allow names it, or a part of it.
var private = netrules.MustSet(
	"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", // RFC 1918
	"100.64.0.0/10", // of carriers; also tailnets
	"192.0.0.0/24",  // protocol assignments
	"198.18.0.0/15", // benchmarks
	"240.0.0.0/4",   // reserved, used inside some clouds
	// Of IPv6 only 2000::/3 is the internet. This holds fc00::/7, NAT64 (64:ff9b::/96 and 64:ff9b:1::/48), fec0::/10.
	"::/3", "4000::/2", "8000::/1",
	"2001::/32", "2002::/16", // Teredo and 6to4 carry IPv4 addresses of any kind
)
