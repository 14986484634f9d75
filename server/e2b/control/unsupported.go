package control

// part is a part of E2B's control plane that answers 501. The README has them as a table.
type part struct {
	what     string // for people
	why      string
	patterns []string // of http.ServeMux; none for members of bodies
}

// Why parts of the protocol are not supported.
const (
	reasonMemory = "pauses keep the memory, and nothing is started anew from files alone: leave it out, or take a snapshot and make a " +
		"sandbox from that"
	reasonVolumes = "there are no volumes: keep files in snapshots, or write them into each sandbox"
	reasonMCP     = "there is no MCP gateway: start the server in the sandbox yourself, and reach it by its port"
	reasonIAM     = "sandboxes have no workload identity: hand tokens in as envVars"
	reasonRules   = "requests of sandboxes are not rewritten: hand what they need in as envVars"
	reasonProxy   = "sandboxes reach the network directly or not at all: set a proxy by envVars"
	reasonHTTPS   = "servers in sandboxes are spoken to by plain HTTP: have them listen so"
	reasonSecrets = "there is no store of secrets: hand them in as envVars"
	reasonBuild   = "templates are made by the daemon's operator, from images, and have no tags: name an image in its configuration, or " +
		"take a snapshot"
	reasonTeams  = "owners and their keys stand in the daemon's configuration"
	reasonEvents = "no events are sent out: listen at /sandboxes/{id}/events"
)

var refused = []part{
	{"building and tagging templates", reasonBuild, []string{
		"/templates/{id}", "/templates/{id}/{rest...}", "POST /templates", "POST /templates/tags", "DELETE /templates/tags",
		"/v2/templates", "/v2/templates/", "/v3/templates", "/v3/templates/",
	}},
	{"volumes, volumeMounts", reasonVolumes, []string{"/volumes", "/volumes/", "/volumecontent/"}},
	{"secrets", reasonSecrets, []string{"/secrets", "/secrets/"}},
	{"pause and connect with memory: false, autoPauseMemory: false", reasonMemory, nil},
	{"network.rules", reasonRules, nil},
	{"network.egressProxy", reasonProxy, nil},
	{"network.httpsPorts", reasonHTTPS, nil},
	{"mcp", reasonMCP, nil},
	{"iam", reasonIAM, nil},
	{"teams, API keys, access tokens", reasonTeams, []string{
		"/teams", "/teams/", "/api-keys", "/api-keys/", "/access-tokens", "/access-tokens/",
	}},
	{"webhooks, events of all sandboxes", reasonEvents, []string{"/webhooks", "/webhooks/", "/events/"}},
}
