package docker

// What our containers and images are known by.
const (
	labelOwner    = "org.ds-sandbox.owner"    // random id of the backend that made the container
	labelLock     = "org.ds-sandbox.lock"     // where the owner's lock is, see owner
	labelID       = "org.ds-sandbox.id"       // of the sandbox
	labelSpare    = "org.ds-sandbox.spare"    // "1" of one that was made as a spare; the agent knows whether it still is
	labelCreated  = "org.ds-sandbox.created"  // RFC 3339
	labelImage    = "org.ds-sandbox.image"    // "kernel" of our own image, "snapshot"
	labelRecipe   = "org.ds-sandbox.recipe"   // hash of what the image is made from, without the agent
	labelAgent    = "org.ds-sandbox.agent"    // hash of the agent's binary in the image
	labelProtocol = "org.ds-sandbox.protocol" // of that agent
	labelFrom     = "org.ds-sandbox.from"     // image that a snapshot's instance was made from
)

// Kinds of images.
const (
	imageKernel   = "kernel"
	imageSnapshot = "snapshot"
)

// What an instance looks like inside.
const (
	workspaceDir = "/home/user"
	userID       = 1000
	ownDir       = "/opt/ds-sandbox"
	agentPath    = ownDir + "/bin/ds-sandbox-agent"
)
