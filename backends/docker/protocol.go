package docker

// protocol is the version that this program's side of the agent speaks.
const protocol = "1"
